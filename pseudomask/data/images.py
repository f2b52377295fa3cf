"""Find the images of a folder, read lists of names, and select the images that a list names."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudomask.data.kinds import ARCHIVES, IMAGE_SUFFIXES, NOT_READ, READ, SNIFF_BYTES, convert_how, sniff
from pseudomask.data.names import NameIndex, is_comment
from pseudomask.errors import UsageError
from pseudomask.files import open_file, read_bytes
from pseudomask.quoting import count, listed
from pseudomask.running.walking import identity_of, walk
from pseudomask.suggest import did_you_mean_path

_NOT_SNIFFED = frozenset(
    {".txt", ".xml", ".json", ".jsonl", ".csv", ".tsv", ".md", ".html", ".yaml", ".py"}
    | {".npy", ".npz", ".pt", ".pth", ".safetensors", ".log", ".yml", ".toml", ".ini", ".db", ".sh"}
    | ARCHIVES
)
"""Files often found beside photos; never opened to check whether they are images."""


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image of `folder`: `relative` is its POSIX path in the folder, `key` is `relative` without extension."""

    key: str
    relative: str
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / self.relative


class ImagePaths(Sequence[Path]):
    """Paths of images, created on access, because 100,000 of them would take half of a run's memory."""

    def __init__(self, items: Sequence[ImageItem]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: Any) -> Any:
        return self.items[i].path


@dataclass(frozen=True)
class PassedOver:
    """Image files of one unsupported kind; `suffix` names their extensions, `first` is the path of one of them."""

    kind: str
    suffix: str
    count: int
    first: str

    def __str__(self) -> str:
        return f"{self.count} {self.suffix} ({self.kind})" if self.suffix else f"{self.count} {self.kind}"


@dataclass(frozen=True)
class Found:
    """The images of a folder, sorted by relative path, and its image files of unsupported kinds."""

    items: list[ImageItem]
    passed_over: tuple[PassedOver, ...] = ()


def passed_over_line(passed_over: Sequence[PassedOver]) -> str:
    """What cannot be read, and how to convert the most frequent kind; empty if there is nothing."""
    if not passed_over:
        return ""
    named, kind = listed(list(map(str, passed_over)), 6), passed_over[0].kind
    return f"ignored {named} (first: {passed_over[0].first}); {kind} is not supported: {convert_how(kind)}"


def find_images(folder: Path, *, exclude: Path | None = None) -> list[ImageItem]:
    """The images that `look_through` finds."""
    return look_through(folder, exclude=exclude).items


def look_through(folder: Path, *, exclude: Path | None = None) -> Found:
    """All images under `folder`, sorted by relative path, and the unsupported image files.

    Files with an image extension (any case) are listed even if broken, others if their first bytes
    are those of an image. Hidden names are skipped, each folder is visited once however many links
    lead to it, and `exclude` is not visited. Raises UsageError if the folder is missing, unreadable
    or has no images.
    """
    if not folder.is_dir():
        what = "is a file, not a folder of images" if folder.exists() else f"no such folder{did_you_mean_path(folder)}"
        raise UsageError(f"{folder}: {what}")
    skipped = identity_of(exclude) if exclude is not None and exclude.is_dir() else None
    items, others = [], dict[str, list[str]]()
    for relative, full in walk(folder, skipped):
        key, suffix = os.path.splitext(relative)  # noqa: PTH122 - 100,000 names, no Path wanted
        kind = _kind(relative, suffix.lower(), full)
        if kind in READ:
            items.append(ImageItem(key, relative, folder))
        elif kind:
            others.setdefault(kind, []).append(relative)
    passed_over = _counted(others)
    if not items:
        raise UsageError(f"{folder}: no image found{_instead(passed_over)}")
    items.sort(key=lambda item: item.relative)
    return Found(items, tuple(one for one in passed_over if one.kind != "archive"))


def _kind(relative: str, suffix: str, full: str) -> str | None:
    """The kind of image in a file, by its name if that is enough, so that files are opened only if needed."""
    if suffix in IMAGE_SUFFIXES:
        return "JPEG"  # or another kind, which the decoder finds out
    if suffix in ARCHIVES:
        return "NIfTI" if relative.lower().endswith(".nii.gz") else "archive"
    if suffix in _NOT_SNIFFED:
        return None
    named = NOT_READ.get(suffix)
    if named in ("camera RAW", "unfinished download", "slide", "microscope"):
        return named  # what their first bytes announce is a preview, or half a photo
    found = _sniffed(full)
    return found if found in READ else named or found


def _counted(others: dict[str, list[str]]) -> list[PassedOver]:
    """The most frequent kind first."""
    kinds = sorted(others.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    return [PassedOver(kind, _suffixes(names), len(names), min(names)) for kind, names in kinds]


def _suffixes(names: Sequence[str]) -> str:
    """The extensions of files, three at most."""
    endings = (".nii.gz" if name.lower().endswith(".nii.gz") else Path(name).suffix.lower() for name in names)
    return listed(sorted(set(endings) - {""}))


def _instead(passed_over: Sequence[PassedOver]) -> str:
    if not passed_over:
        return ""
    kind = passed_over[0].kind
    named = ", ".join(map(str, passed_over[:6]))
    return f"; it contains {named}: {'' if kind == 'archive' else 'not supported; '}{convert_how(kind)}"


def _sniffed(path: str) -> str | None:
    try:
        with open_file(path) as file:
            return sniff(file.read(SNIFF_BYTES))
    except OSError:
        return None


_MAIN_LINE = re.compile(r"(\S.*?)\s+(?:-1|0|1)")
_PAIR_LINE = re.compile(r"(\S+\.[A-Za-z]{3,4})\s+\S+\.png", re.IGNORECASE)


def read_list(source: Path | str) -> list[str]:
    """The names in a list file, one per line; `-` reads standard input.

    Names are stems or relative paths. Blank lines and lines starting with `# ` are skipped. If every
    line has a second column, of 1, 0 or -1 (VOC's Main lists) or naming a PNG mask, the first column
    is used. Raises UsageError if the file cannot be read or is empty.
    """
    if str(source) == "-":
        data, where = sys.stdin.buffer.read(), "standard input"
    else:
        where = str(source)
        try:
            data = read_bytes(source, pipe=True)
        except OSError as error:
            raise UsageError(f"{where}: cannot read the list ({error.strerror})") from error
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise UsageError(f"{where}: not a text file; save it as UTF-8, one name per line")
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    lines = [line for line in lines if line and not is_comment(line)]
    if not lines:
        raise UsageError(f"{where}: the list is empty")
    for pattern in (_MAIN_LINE, _PAIR_LINE):
        found = [match[1] for line in lines if (match := pattern.fullmatch(line))]
        if len(found) == len(lines):
            return found
    return lines


def select(items: Sequence[ImageItem], names: Sequence[str], *, source: str) -> list[ImageItem]:
    """The images that `names` refer to, in that order, each once; `source` is the origin of the names.

    A name is a relative path, a key, or the end of exactly one of them (a bare file name or stem).
    Raises UsageError for names that match no image or several.
    """
    index = NameIndex(items)
    chosen: dict[str, ImageItem] = {}
    unknown: list[str] = []
    for name in names:
        found = index.find(name)
        if len(found) > 1:
            several = listed([item.relative for item in found])
            raise UsageError(f"{source}: {name} is ambiguous: {several}; give its path within the image folder")
        if found:
            chosen[found[0].relative] = found[0]
        else:
            unknown.append(name)
    if not chosen:
        example = f" (for example {unknown[0]})" if unknown else ""
        raise UsageError(f"{source}: none of its names matches an image in the folder{example}")
    if unknown:
        raise UsageError(f"{source}: no image for {len(unknown)} of {count(len(names), 'name')}: {listed(unknown)}")
    return list(chosen.values())
