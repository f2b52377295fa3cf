"""Detect the label format of a file or folder."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from pseudomask.data.images import find_images
from pseudomask.data.labels.csv_file import looks_like_table
from pseudomask.data.labels.fiftyone import FILES
from pseudomask.data.labels.text_file import label_files
from pseudomask.data.labels.voc_main import class_files
from pseudomask.data.labels.voc_xml import voc_root
from pseudomask.errors import LabelError, UsageError
from pseudomask.files import open_file

_BY_SUFFIX = {".csv": "csv", ".tsv": "csv", ".json": "coco", ".jsonl": "imagefolder", ".npy": "npy"}
_BY_SUFFIX |= dict.fromkeys((".npz", ".pkl", ".pickle", ".pt", ".pth"), "npy")


def detect(path: Path) -> str | None:
    """The format's name, or None if no format fits. Raises LabelError if `path` cannot be read."""
    if path.is_dir():
        return _detect_folder(path)
    try:
        with open_file(path) as file:
            head = file.read(4096)
    except OSError as error:
        if path.is_fifo():
            return None  # reading it here would lose its content
        raise LabelError(f"cannot be read ({error.strerror})", path) from error
    if head.startswith((b"\x93NUMPY", b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "npy"
    if head.startswith(b"PAR1"):
        return "parquet"
    if path.suffix.lower() == ".json" and (found := _detect_json(_text(head))):
        return found
    if path.name.lower() == "metadata.csv":
        return "imagefolder"
    return _BY_SUFFIX.get(path.suffix.lower()) or _detect_content(head)


def _detect_json(text: str) -> str | None:
    """The format of JSON other than COCO's."""
    if text.startswith("["):
        return "label-studio"  # whose reader names other lists
    return "fiftyone" if re.match(r'\{\s*"(samples"\s*:\s*\[|(classes|labels)"\s*:)', text) else None


def _detect_content(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text"  # whose reader says that it is UTF-16
    text = _text(head)
    if text.startswith("<") and re.search(r"<annotations[\s>]", text):
        return "cvat"
    if text.startswith("{"):
        return "coco"
    if text.startswith("<") or "\0" in text or not text:
        return None
    return "csv" if looks_like_table(text.splitlines()[0]) else "text"


def _text(head: bytes) -> str:
    return head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").lstrip()


def _detect_folder(path: Path) -> str | None:
    root = voc_root(path)
    if (root / "Annotations").is_dir() and path.name != "Main":
        return "voc"
    if class_files(root / "ImageSets" / "Main") or class_files(path):
        return "voc-main"
    if any((path / name).is_file() for name in ("metadata.csv", "metadata.jsonl")):
        return "imagefolder"
    if next(path.rglob("*.parquet"), None) is not None:
        return "parquet"
    if any(detect(path / name) == "fiftyone" for name in FILES if (path / name).is_file()):
        return "fiftyone"
    if (file := next(path.glob("*.xml"), None)) is not None:
        return detect(file) or "voc"
    if label_files(path):
        return "per-image"
    try:
        nested = any("/" in item.relative for item in islice(find_images(path), 100_000))
    except UsageError:
        return None
    return "folders" if nested else None
