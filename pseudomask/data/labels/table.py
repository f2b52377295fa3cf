"""The table that every label format is read into, the options of readers, and reading a label file's text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pseudomask.errors import LabelError
from pseudomask.files import read_bytes
from pseudomask.suggest import nearest as nearest_name

MAX_CLASSES = 65_534
"""Mask indices have at most 16 bits; 0 is background and one is ignore."""

BACKGROUND_NAMES = frozenset({"background", "__background__", "_background_", "bg"})


@dataclass(frozen=True)
class LabelTable:
    """Tags of images from one label source.

    `classes` are the foreground names in order; `tags` maps an image's name, as written in the
    source, to the sorted positions in `classes` of the classes shown (empty: none of them).
    `notes` say what was mapped or left out, for people.
    """

    classes: tuple[str, ...]
    tags: dict[str, tuple[int, ...]]
    format: str
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """Options of a reader; see `read_labels`."""

    classes: tuple[str, ...] | None = None
    difficult: Literal["keep", "drop"] = "keep"
    crowd: Literal["ignore", "keep"] = "ignore"
    split: str | None = None
    separator: str | None = None
    no_class: frozenset[str] = frozenset()
    skip_tag: frozenset[str] = frozenset()
    merge_names: bool = False
    renames: Mapping[str, str] = field(default_factory=dict)
    drop_unknown: bool = False
    count_from: int | None = None
    image_column: str | None = None
    label_column: tuple[str, ...] = ()
    images: Path | None = None


def check_classes(names: Iterable[str], path: Path | str | None = None) -> tuple[str, ...]:
    """Foreground class names. Raises LabelError for empty, duplicate or background names, or too many."""
    classes = tuple(names)
    seen: set[str] = set()
    for name in classes:
        if not name.strip():
            raise LabelError("a class name is empty", path)
        if name in BACKGROUND_NAMES:
            raise LabelError(f"'{name}' is not a class; mask index 0 is always background", path)
        if name in seen:
            raise LabelError(f"duplicate class '{name}'", path)
        seen.add(name)
    if len(classes) > MAX_CLASSES:
        raise LabelError(f"{len(classes):,} classes, but a mask can hold at most {MAX_CLASSES:,}", path)
    return classes


def nearest(name: str, valid: Sequence[str]) -> str:
    """`: did you mean 'cat'?` or, if none is close, the first valid names."""
    for separator in ",|/ ":
        parts = [part.strip() in valid for part in name.split(separator)]
        if len(parts) > 1 and (all(parts) if separator == " " else parts[0]):
            return f"; separate class names with ';', or give --tag-separator '{separator}'"
    close = nearest_name(name, valid)
    if close:
        return f": did you mean '{close}'?"
    return f"; the classes are {', '.join(valid[:5])}{', ...' if len(valid) > 5 else ''}"


def read_text(path: Path) -> str:
    """The text of a label file: UTF-8 with or without BOM; other bytes survive as surrogates."""
    try:
        data = read_bytes(path, pipe=True)
    except OSError as error:
        raise LabelError(f"cannot be read ({error.strerror})", path) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LabelError("is UTF-16 (Excel's 'Unicode text'); save it as UTF-8 (Excel: 'CSV UTF-8')", path)
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
