"""What every label format is read into, and the checks that all formats share."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pseudomask.errors import LabelError
from pseudomask.running.jsonable import is_text
from pseudomask.running.reading import read_bytes
from pseudomask.suggest import nearest as nearest_name

MAX_CLASSES = 65_534
"""Mask indices are at most 16 bits, less 0 for background and one for ignore."""

BACKGROUND_NAMES = frozenset({"background", "__background__", "_background_", "bg"})

_NEGATIVE = re.compile(r"-\d+(\.\d+)?")
_NUMBER = re.compile(r"\d+")
_NAN = frozenset({"nan", "null", "none", "inf", "-inf"})


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


@dataclass
class TableBuilder:
    """Collects (image name, class names, line) and checks each; `finish` gives the LabelTable.

    With a given class list a whole number stands for the mask index (1 is the first class), or
    with `numbers_from_zero` for the position. Without one, classes are sorted by name, or kept
    in `declared` order where the source has one.
    """

    path: Path
    format: str
    options: ReadOptions
    numbers_from_zero: bool = False
    notes: list[str] = field(default_factory=list)
    _provisional: dict[str, int] = field(default_factory=dict)
    _declared: bool = False
    _tags: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _lines: array[int] = field(default_factory=lambda: array("L"))
    _resolved: dict[tuple[str, ...], tuple[int, ...]] = field(default_factory=dict)
    _saw_background: bool = False

    def __post_init__(self) -> None:
        if self.options.classes is not None:
            self._provisional = {name: i for i, name in enumerate(check_classes(self.options.classes))}

    def declare(self, names: Iterable[str], line: int | None = None) -> None:
        """Fix the classes and their order before any row; with a given class list, only check them."""
        for name in names:
            self.resolve((name,), line)
        self._declared = True

    def resolve(self, names: tuple[str, ...], line: int | None, where: Path | None = None) -> tuple[int, ...]:
        """Sorted unique positions of class names; LabelError for a name that cannot be one."""
        known = self._resolved.get(names)
        if known is None:
            found = {self._position(name.strip(), line, where or self.path) for name in names}
            found.discard(-1)
            known = self._resolved[names] = tuple(sorted(found))
        return known

    def _position(self, name: str, line: int | None, where: Path) -> int:
        """Position of a class; -1 for background."""
        position = self._provisional.get(name)
        if position is not None:
            return position
        if not name:
            raise LabelError("a class name is empty", where, line)
        if not is_text(name):
            raise LabelError(f"the class name {name!r} holds half a character, which no file can", where, line)
        if name.lower() in BACKGROUND_NAMES:
            self._saw_background = True
            return -1
        if _NEGATIVE.fullmatch(name):
            raise LabelError(f"class index {name} is negative", where, line)
        if name.lower() in _NAN:
            raise LabelError(f"'{name}' is not a class (an empty cell means: no class)", where, line)
        if self.options.classes is not None:
            return self._number(name, line, where)
        if len(self._provisional) >= MAX_CLASSES:
            raise LabelError(f"more than {MAX_CLASSES:,} classes", where, line)
        self._provisional[name] = len(self._provisional)
        return self._provisional[name]

    def _number(self, name: str, line: int | None, where: Path) -> int:
        classes = self.options.classes
        assert classes is not None
        if _NUMBER.fullmatch(name):
            position = int(name) - (0 if self.numbers_from_zero else 1)
            if position == -1:
                raise LabelError("class index 0 is background; the first class is 1", where, line)
            if position >= len(classes):
                raise LabelError(f"class index {name}, but there are {len(classes)} classes", where, line)
            return position
        raise LabelError(f"unknown class '{name}'{nearest(name, classes)}", where, line)

    def add(self, name: str, names: tuple[str, ...], line: int | None = None, where: Path | None = None) -> None:
        """One image and its class names, found at `line` of `where` (default: the source itself)."""
        self.add_positions(name, self.resolve(names, line, where), line, where)

    def add_positions(
        self, name: str, tags: tuple[int, ...], line: int | None = None, where: Path | None = None
    ) -> None:
        """As `add`, for positions that `resolve` gave."""
        if not name or ".." in name or name[0] in "/\\~ " or name[1:2] == ":" or "\0" in name:
            self._check_name(name, line, where or self.path)
        before = self._tags.setdefault(name, tags)
        if len(self._tags) > len(self._lines):
            self._lines.append(line or 0)
        elif before != tags:
            first = self._lines[list(self._tags).index(name)]
            told = f" (first on line {first})" if first else ""
            raise LabelError(f"{name} is listed twice with different tags{told}", where or self.path, line)

    def _check_name(self, name: str, line: int | None, where: Path) -> None:
        if not name.strip():
            raise LabelError("a file name is empty", where, line)
        if name[0] in "/\\" or re.match(r"[A-Za-z]:[\\/]", name):
            raise LabelError(f"{name} is absolute; write it relative to the image folder", where, line)
        if ".." in re.split(r"[\\/]", name) or "\0" in name:
            raise LabelError(f"{name!r} leaves the image folder; write it relative to it", where, line)

    def finish(self) -> LabelTable:
        """The table, with the classes in their final order. LabelError when nothing was found."""
        if not self._tags:
            raise LabelError("holds no image", self.path)
        if not self._provisional:
            raise LabelError("names no class", self.path)
        classes, tags = tuple(self._provisional), self._tags
        if self.options.classes is None and not self._declared:
            ordered = sorted(classes, key=_by_number_or_name(classes))
            place = {self._provisional[name]: i for i, name in enumerate(ordered)}
            moved = {old: tuple(sorted(place[i] for i in old)) for old in set(tags.values())}
            classes, tags = tuple(ordered), {name: moved[old] for name, old in tags.items()}
        notes = list(self.notes)
        if self._saw_background:
            notes.append("background is no class and was left out: mask index 0 is background by itself")
        empty = sum(not positions for positions in tags.values())
        if empty:
            notes.append(f"{empty:,} of {len(tags):,} images show no class")
        return LabelTable(classes, tags, self.format, str(self.path), tuple(notes))


def _by_number_or_name(classes: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    numeric = all(_NUMBER.fullmatch(name) for name in classes)
    return lambda name: (int(name) if numeric else 0, name)


def nearest(name: str, valid: Sequence[str]) -> str:
    """`: did you mean 'cat'?` or, with nothing near, the first valid names."""
    for separator in ",|":
        if separator in name and name.split(separator)[0].strip() in valid:
            return ": put ';' between class names"
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
        raise LabelError("is UTF-16; save it as UTF-8", path)
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
