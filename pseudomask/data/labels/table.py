"""What every label format is read into, what a reader is asked for, and the reading of a label file's text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.errors import LabelError
from pseudomask.files import read_bytes
from pseudomask.suggest import nearest as nearest_name

MAX_CLASSES = 65_534
"""Mask indices are at most 16 bits, less 0 for background and one for ignore."""

BACKGROUND_NAMES = frozenset({"background", "__background__", "_background_", "bg"})


@dataclass(frozen=True)
class LabelTable:
    """Tags of images, as one label source tells them.

    `classes` are the foreground names in order; `tags` maps an image's name, as written in the
    source, to the sorted positions in `classes` of what it shows (empty: shows none of them).
    `notes` are sentences for people about what was mapped or left out.
    """

    classes: tuple[str, ...]
    tags: dict[str, tuple[int, ...]]
    format: str
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """What a reader is asked for; see `read_labels`."""

    classes: tuple[str, ...] | None = None
    difficult: Literal["keep", "drop"] = "keep"
    crowd: Literal["ignore", "keep"] = "ignore"
    split: str | None = None
    separator: str | None = None
    no_class: frozenset[str] = frozenset()
    skip_tag: frozenset[str] = frozenset()
    merge_names: bool = False
    count_from: int | None = None
    image_column: str | None = None
    label_column: tuple[str, ...] = ()
    images: Path | None = None


def check_classes(names: Iterable[str], path: Path | str | None = None) -> tuple[str, ...]:
    """Foreground class names, or LabelError for empty, doubled, background or far too many ones."""
    classes = tuple(names)
    seen: set[str] = set()
    for name in classes:
        if not name.strip():
            raise LabelError("a class name is empty", path)
        if name in BACKGROUND_NAMES:
            raise LabelError(f"'{name}' is not a class: background is mask index 0 by itself", path)
        if name in seen:
            raise LabelError(f"class '{name}' is named twice", path)
        seen.add(name)
    if len(classes) > MAX_CLASSES:
        raise LabelError(f"{len(classes):,} classes; at most {MAX_CLASSES:,} fit in a mask", path)
    return classes


def nearest(name: str, valid: Sequence[str]) -> str:
    """`: did you mean 'cat'?` or, with nothing near, the first valid names."""
    for separator in ",|/ ":
        parts = [part.strip() in valid for part in name.split(separator)]
        if len(parts) > 1 and (all(parts) if separator == " " else parts[0]):
            return f": put ';' between class names, or give --tag-separator '{separator}'"
    close = nearest_name(name, valid)
    if close:
        return f": did you mean '{close}'?"
    return f": known are {', '.join(valid[:5])}{', ...' if len(valid) > 5 else ''}"


def read_text(path: Path) -> str:
    """The text of a label file: UTF-8 with or without BOM; other bytes survive as surrogates."""
    try:
        data = read_bytes(path, pipe=True)
    except OSError as error:
        raise LabelError(f"cannot be read ({error.strerror})", path) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LabelError("is UTF-16 (Excel's 'Unicode text'); save it as UTF-8 (Excel: 'CSV UTF-8')", path)
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
