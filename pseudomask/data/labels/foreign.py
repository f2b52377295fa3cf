"""Unsupported files of other programs: what each is, and how to convert it to a label file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pseudomask.files import open_file

_AS_TABLE = "write a table 'filename,labels'"
_EXCEL = "save it as 'CSV UTF-8' in the spreadsheet program"
_PANDAS = "convert it with pandas, by .to_csv('labels.csv', index=False)"
_LABEL_STUDIO = (
    "a table or a single task of Label Studio: export the project as JSON, or give --image-column and --label-column"
)
_VIA = f"a VGG Image Annotator (VIA) project, which is not supported: export it as COCO, or {_AS_TABLE}"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0", f"an old Excel workbook (.xls), not text: {_EXCEL}"),
    (b"ARROW1", f"a Feather (Arrow) file, not text: {_PANDAS}"),
    (b"FEA1", f"a Feather file, not text: {_PANDAS}"),
    (b"\x89HDF", f"an HDF5 file, not text: {_PANDAS}"),
    (b"SQLite format 3", f"an SQLite database, not text: {_AS_TABLE} from it"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"BZh", "a bzip2 file: unpack it first"),
    (b"\xfd7zXZ", "an xz file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"%PDF", f"a PDF: {_AS_TABLE}"),
    (b"\x89PNG", "a photo or a mask, not a label file"),
    (b"\xff\xd8\xff", "a photo, not a label file"),
)
_ZIPS: tuple[tuple[bytes, str], ...] = (
    (b"xl/", f"an Excel workbook (.xlsx), not text: {_EXCEL}"),
    (b"[Content_Types].xml", f"an Excel workbook (.xlsx), not text: {_EXCEL}"),
    (b"opendocument.spreadsheet", f"an OpenDocument sheet (.ods), not text: {_EXCEL}"),
)
_MARKUP: tuple[tuple[str, str], ...] = (
    (r"<annotation[\s>]", "a single VOC annotation: give the folder of all annotations"),
)
_PICKLE_ZIP = (b"data.pkl", b".npy")


def foreign_bytes(head: bytes) -> str | None:
    """What a file with these first bytes is, and how to convert it; None for text, pickles and unknown files."""
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    if head[128:132] == b"DICM":
        return f"a DICOM file, which is a scan, not a label file: {_AS_TABLE}"
    if head.startswith(b"PK\x03\x04"):
        found = [what for mark, what in _ZIPS if mark in head]
        if found or not any(mark in head for mark in _PICKLE_ZIP):
            return found[0] if found else "a zip archive: unpack it first"
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").lstrip()
    if text.startswith("<"):
        for pattern, what in _MARKUP:
            if re.search(pattern, text):
                return what
    return None


def foreign_name(path: Path) -> str | None:
    """The same for text whose file name is misleading, such as JSON in labels.csv."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return None
    with open_file(path) as file:
        head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb'\{\s*"', head) and b'"file_name"' in head.split(b"\n")[0]:
        return "JSON Lines, not a table: rename it to metadata.jsonl"
    if re.match(rb"<!doctype html|<html", head, re.IGNORECASE):
        return f"a web page, not a table (perhaps a login page): {_AS_TABLE}"
    if re.match(rb'\{\s*"|\[\s*\{', head):
        return "JSON, not a table: rename it to .json"
    return None


def foreign_header(columns: Iterable[str]) -> str | None:
    """The same for a table with these columns, in lower case."""
    names = set(columns)
    if names >= {"annotation_id", "lead_time"} or names >= {"annotator", "annotation_id"}:
        return _LABEL_STUDIO
    if names >= {"region_attributes", "file_attributes"}:
        return _VIA
    return None


def foreign_json(data: Any) -> str | None:
    """The same for JSON that is not COCO's instances."""
    if isinstance(data, list):
        return _json_list([row for row in data if isinstance(row, dict)])
    if not isinstance(data, dict) or {"images", "annotations", "categories"} <= data.keys():
        return None
    if "_via_settings" in data or any(isinstance(v, dict) and "regions" in v for v in data.values()):
        return _VIA
    if "shapes" in data or "flags" in data:
        return "a single labelme file: give the folder of all files"
    if "items" in data and "categories" in data:
        return "a Datumaro export, which is not supported: export it as COCO"
    if "annotations" in data and "data" in data:
        return _LABEL_STUDIO
    if "images" in data and "annotations" not in data:
        return "a COCO file without 'annotations', perhaps the image list of a test set: give the instances file"
    return None


def _json_list(rows: list[dict[str, Any]]) -> str | None:
    first = rows[0] if rows else {}
    if {"image_id", "category_id"} <= first.keys():
        return "a COCO results file (predictions): give the instances file with the images and categories"
    if "image" in first and "annotations" in first and "annotation_id" not in first:
        return f"a CreateML export, which is not supported: {_AS_TABLE}, or export it as COCO"
    if "file_name" in first:
        return "a JSON array of rows: write one object per line and name the file metadata.jsonl"
    return None


def other_coco(annotation: dict[str, Any]) -> str | None:
    """Which of COCO's other files this is the first annotation of: panoptic, captions; None for instances."""
    if "category_id" in annotation:
        return None
    if "segments_info" in annotation:
        return "a COCO panoptic file, which is not supported: give the instances file"
    if "caption" in annotation:
        return "a COCO captions file, which has no classes: give the instances file"
    return None
