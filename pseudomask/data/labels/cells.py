"""Several tags in one cell, separated or written as a list."""

from __future__ import annotations

import json
import re

_STRING = r"""'[^'\\]*'|"[^"\\]*\""""
_LIST = re.compile(rf"[\[({{]\s*(?:{_STRING})(?:\s*,\s*(?:{_STRING}))*\s*,?\s*[\])}}]")
_EMPTY_LIST = re.compile(r"\[\s*\]|\(\s*\)|\{\s*\}|set\(\s*\)")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


def read_list_cell(cell: str) -> tuple[str, ...] | None:
    """The names in a cell that is a list as written by Python, pandas or JSON; None if it is not clearly one.

    Quoted names separated by commas, or whole numbers in square brackets. numpy's `['cat' 'dog']` and
    `[cat, dog]` are not lists.
    """
    if _EMPTY_LIST.fullmatch(cell):
        return ()
    if _LIST.fullmatch(cell):
        return tuple(text[1:-1] for text in re.findall(_STRING, cell))
    if cell[0] != "[" or len(cell) > 100_000:
        return None
    try:
        values = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) or type(value) is int for value in values):
        return None
    return tuple(str(value) for value in values)


def part(cell: str, separator: str, *, given: bool) -> tuple[str, ...]:
    """The parts of a cell; one trailing separator is ignored.

    If the user gave the separator, enclosing brackets are removed first.
    """
    if given and len(cell) > 1 and _BRACKETS.get(cell[0]) == cell[-1]:
        cell = cell[1:-1].strip()
        if not cell:
            return ()
    if separator == " ":
        return tuple(cell.split())
    parts = cell.split(separator)
    if len(parts) > 1 and not parts[-1].strip() and parts[-2].strip():
        parts.pop()
    return tuple(parts)
