"""Finding the images of a folder, reading lists of names, and choosing the images that a list names."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudomask.data.decoding import MAX_PIXELS, decode, image_size
from pseudomask.data.kinds import IMAGE_SUFFIXES, SNIFF_BYTES, sniff
from pseudomask.data.names import NameIndex
from pseudomask.errors import UsageError
from pseudomask.running.reading import open_file, read_bytes
from pseudomask.suggest import did_you_mean_path

__all__ = ["MAX_PIXELS", "ImageItem", "ImagePaths", "decode", "find_images", "image_size", "read_list", "select"]

_NOT_SNIFFED = frozenset(
    {".txt", ".xml", ".json", ".jsonl", ".csv", ".tsv", ".md", ".html", ".yaml", ".py"}
    | {".npy", ".npz", ".pt", ".pth", ".safetensors", ".zip", ".tar", ".gz"}
)
"""Common companions of photos that are not opened just to learn that they are none."""


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image of `folder`: `relative` is its POSIX path in it, `key` the same without extension."""

    key: str
    relative: str
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / self.relative


class ImagePaths(Sequence[Path]):
    """Paths of images, each made when it is asked for: of 100,000 they would be half of what a run remembers."""

    def __init__(self, items: Sequence[ImageItem]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: Any) -> Any:
        return self.items[i].path


def find_images(folder: Path, *, exclude: Path | None = None) -> list[ImageItem]:
    """All images under `folder`, sorted by relative path.

    Files with an image's extension (any case) are listed even when broken, others when their first
    bytes are an image's. Hidden names are skipped; each folder is walked once, however many links
    lead to it; `exclude` and what is below it is not walked. Raises UsageError when the folder is
    missing, unreadable or without images.
    """
    if not folder.is_dir():
        what = "is a file, not a folder of images" if folder.exists() else f"no such folder{did_you_mean_path(folder)}"
        raise UsageError(f"{folder}: {what}")
    skipped = _identity(exclude) if exclude is not None and exclude.is_dir() else None
    items = []
    for relative, full in _walk(folder, skipped):
        key, suffix = os.path.splitext(relative)  # noqa: PTH122 - 100,000 names, no Path wanted
        if suffix.lower() in IMAGE_SUFFIXES or (suffix.lower() not in _NOT_SNIFFED and _is_image(full)):
            items.append(ImageItem(key, relative, folder))
    if not items:
        raise UsageError(f"no image found in {folder}")
    items.sort(key=lambda item: item.relative)
    return items


def _walk(folder: Path, skipped: tuple[int, int] | None) -> Iterator[tuple[str, str]]:
    """(relative, full) path of every visible regular file; real folders before linked ones."""
    seen = set() if skipped is None or skipped == _identity(folder) else {skipped}
    real, linked = [("", str(folder))], list[tuple[str, str]]()
    while real or linked:
        if real:
            prefix, current = real.pop()
        else:
            linked.sort(reverse=True)
            prefix, current = linked.pop()
        identity = _identity(current)
        if identity in seen:
            continue
        seen.add(identity)
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    kind = _entry_kind(entry)
                    if kind == "folder":
                        (linked if entry.is_symlink() else real).append((f"{prefix}{entry.name}/", entry.path))
                    elif kind == "file":
                        yield prefix + entry.name, entry.path
        except OSError as error:
            raise UsageError(f"{current}: cannot read this folder ({error.strerror})") from error


def _entry_kind(entry: os.DirEntry[str]) -> str:
    """`folder`, `file` or `other`; a link that leads nowhere counts as a file, so that it is reported."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or entry.is_symlink() else "other"
    except OSError:  # a link to itself
        return "file"


def _identity(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - also given plain strings
    return status.st_dev, status.st_ino


def _is_image(path: str) -> bool:
    try:
        with open_file(path) as file:
            return sniff(file.read(SNIFF_BYTES)) is not None
    except OSError:
        return False


_MAIN_LINE = re.compile(r"(\S.*?)\s+(?:-1|0|1)")
_PAIR_LINE = re.compile(r"(\S+\.[A-Za-z]{3,4})\s+\S+\.png", re.IGNORECASE)


def read_list(source: Path | str) -> list[str]:
    """The names in a list file, one a line; `-` reads standard input.

    Names are stems or relative paths. Blank lines and lines starting with `# ` are skipped. Where
    every line has a second column, of 1, 0 or -1 (VOC's Main lists) or naming a PNG mask, the first
    column is kept. Raises UsageError when the file cannot be read or names nothing.
    """
    if str(source) == "-":
        data, where = sys.stdin.buffer.read(), "standard input"
    else:
        where = str(source)
        try:
            data = read_bytes(source, pipe=True)
        except OSError as error:
            raise UsageError(f"{where}: cannot read this list ({error.strerror})") from error
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise UsageError(f"{where}: not a text list (save it as UTF-8, one name a line)")
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    lines = [line for line in lines if line and line != "#" and not line.startswith(("# ", "#\t"))]
    if not lines:
        raise UsageError(f"{where}: names no image")
    for pattern in (_MAIN_LINE, _PAIR_LINE):
        found = [match[1] for line in lines if (match := pattern.fullmatch(line))]
        if len(found) == len(lines):
            return found
    return lines


def select(items: Sequence[ImageItem], names: Sequence[str], *, source: str) -> list[ImageItem]:
    """The images that `names` name, in that order, each once; `source` says where the names are from.

    A name is a relative path, a key, or the end of exactly one of them (a bare file name or stem).
    Raises UsageError for names that match none or several.
    """
    index = NameIndex(items)
    chosen: dict[str, ImageItem] = {}
    unknown: list[str] = []
    for name in names:
        found = index.find(name)
        if len(found) > 1:
            listed = ", ".join(item.relative for item in found[:3])
            raise UsageError(f"{source}: {name} may mean {listed}: give its path within the image folder")
        if found:
            chosen[found[0].relative] = found[0]
        else:
            unknown.append(name)
    if not chosen:
        example = f" (for example {unknown[0]})" if unknown else ""
        raise UsageError(f"{source}: none of its {len(names)} names is an image of this folder{example}")
    if unknown:
        first = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise UsageError(f"{source}: {len(unknown)} of {len(names)} names have no image: {first}")
    return list(chosen.values())
