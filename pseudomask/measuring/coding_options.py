"""Parse --truth-map, --pred-map, --truth-palette and --pred-palette into a `Coding`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pseudomask.data.labels.table import read_text
from pseudomask.data.names import is_comment
from pseudomask.errors import LabelError, UsageError
from pseudomask.masks import palette
from pseudomask.measuring.coding import UNKNOWN, Coding, Side, colour_code
from pseudomask.quoting import quoted
from pseudomask.suggest import nearest as nearest_name

BACKGROUND = "background"
_VALUES = 65_536
_RANGE = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?")
_COLOUR_LINES = (
    re.compile(r"#(?P<hex>[0-9a-fA-F]{6})[\s,;]+(?P<name>\S.*)"),
    re.compile(r"(?P<r>\d{1,3})[\s,;]+(?P<g>\d{1,3})[\s,;]+(?P<b>\d{1,3})[\s,;]+(?P<name>\S.*)"),
    re.compile(r"(?P<name>[^,;]*[^,;\s])\s*[,;]\s*(?P<r>\d{1,3})[\s,;]+(?P<g>\d{1,3})[\s,;]+(?P<b>\d{1,3})"),
)


def make_coding(
    side: Side, values: str | None, table: str | None, names: tuple[str, ...] | None, ignore: int
) -> Coding:
    """The coding given by `--SIDE-map` (values) or `--SIDE-palette` (table); class indices if neither is given.

    values: `255=cat,0=background,1-9=ignore`, or a file with one such entry per line. table: `voc`, or a file with
    one colour per line. names: all classes, background first. Raises UsageError for invalid text.
    """
    if values is not None and table is not None:
        raise UsageError(
            f"--{side}-map (for values) and --{side}-palette (for colours) cannot be combined; give one of them"
        )
    if values is not None:
        return _value_coding(side, values, names, ignore)
    if table is None:
        return Coding(side)
    if table == "voc":
        return _voc_coding(side, names, ignore)
    return _table_coding(side, Path(table), names, ignore)


def _value_coding(side: Side, text: str, names: tuple[str, ...] | None, ignore: int) -> Coding:
    option = f"--{side}-map"
    values, named = np.arange(_VALUES, dtype=np.uint16), np.zeros(_VALUES, bool)
    entries = list(_entries(text, option))
    if not entries:
        raise UsageError(f"{option} is empty; write VALUE=CLASS, such as 255=cat")
    for entry in entries:
        left, _, name = (part.strip() for part in entry.partition("="))
        found = _RANGE.fullmatch(left)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not name or low > high or high >= _VALUES:
            raise UsageError(f"{option}: {entry!r} is not VALUE=CLASS or LOW-HIGH=CLASS, such as 255=cat or 1-9=ignore")
        if named[low : high + 1].any():
            raise UsageError(f"{option}: {entry!r} assigns a value twice")
        values[low : high + 1] = _index(name, names, ignore, option)
        named[low : high + 1] = True
    return Coding(side, ", ".join(entries), values=values, named=named)


def _entries(text: str, option: str) -> Iterator[str]:
    is_file = os.path.isfile(text)  # noqa: PTH113 - a Path raises if a long map is not a valid file name
    if "=" in text and not is_file:
        yield from (entry.strip() for entry in text.split(",") if entry.strip())
        return
    if not is_file:
        raise UsageError(f"{option} {text!r} is neither VALUE=CLASS, such as 255=cat, nor a file of such lines")
    yield from (line for line, _ in _lines(Path(text)))


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    """Lines other than blank ones and comments, and their numbers."""
    for number, line in enumerate(map(str.strip, read_text(path).splitlines()), 1):
        if line and not is_comment(line):
            yield line, number


def _voc_coding(side: Side, names: tuple[str, ...] | None, ignore: int) -> Coding:
    table = palette()
    last = 255 if names is None else min(len(names), 255)
    meaning = {colour_code(table[index]): index for index in range(last)} | {colour_code(table[255]): ignore}
    beyond = {colour_code(table[index]): index for index in range(last, 21)}
    meaning |= dict.fromkeys(beyond, UNKNOWN)
    unlisted = {
        code: f"number {index} of VOC's, beyond the class list: give --class-file in VOC's order, or --{side}-palette "
        f"FILE with the line `{code >> 16} {code >> 8 & 255} {code & 255} NAME`"
        for code, index in beyond.items()
    }
    return _colour_coding(side, "VOC's colours, by their numbers", meaning, unlisted)


def _table_coding(side: Side, path: Path, names: tuple[str, ...] | None, ignore: int) -> Coding:
    option = f"--{side}-palette"
    if not os.path.isfile(path):  # noqa: PTH113
        raise UsageError(f"{option} {str(path)!r} is neither voc nor a file")
    meaning: dict[int, int] = {}
    unlisted: dict[int, str] = {}
    for line, number in _lines(path):
        found = next((match for one in _COLOUR_LINES if (match := one.fullmatch(line))), None)
        parts = found.groupdict() if found else {}
        rgb = tuple(bytes.fromhex(parts["hex"])) if "hex" in parts else tuple(int(parts.get(k, 256)) for k in "rgb")
        if max(rgb) > 255:
            if not meaning and not unlisted and not any(letter.isdigit() for letter in line):
                continue  # a heading
            raise LabelError(f"{line[:60]!r} is not `R G B NAME`, `#RRGGBB NAME` or `NAME,R,G,B`", path, number)
        code, name = colour_code(np.array(rgb)), parts["name"].strip()
        try:
            index = _index(name, names, ignore, option)
        except UsageError:
            if names is None:
                raise
            index = UNKNOWN  # an error only if a mask has the colour: tables may list more classes
            unlisted[code] = f"{name!r}, which is not in the class list; map it to ignore to exclude it"
        if meaning.setdefault(code, index) != index:
            raise LabelError(f"assigns the colour of {name!r} twice", path, number)
    if all(index == UNKNOWN for index in meaning.values()):
        raise UsageError(f"{option} {path}: none of its names is in the class list")
    return _colour_coding(side, f"colours of {path}", meaning, unlisted)


def _colour_coding(side: Side, description: str, meaning: dict[int, int], unlisted: dict[int, str]) -> Coding:
    codes = np.array(sorted(meaning), np.int64)
    indices = np.array([meaning[int(code)] for code in codes], np.int64)
    return Coding(side, description, colours=(codes, indices), unlisted=unlisted)


def _index(name: str, names: Sequence[str] | None, ignore: int, option: str) -> int:
    """The class index of a name, of `ignore`, or of a number that is not itself a name."""
    if names is not None and name in names:
        return names.index(name)
    if name == "ignore":
        return ignore
    if name == BACKGROUND:
        return 0
    if name.isascii() and name.isdigit() and int(name) < (_VALUES if names is None else len(names)):
        return int(name)
    if names is None:
        raise UsageError(f"{option}: there is no class list to find {name!r} in; give --class-file")
    near = nearest_name(name, names, cutoff=0.5)
    hint = f"; did you mean {quoted(near)}?" if near else "; use a class of the list, or ignore"
    raise UsageError(f"{option}: {name!r} is not in the class list{hint}")
