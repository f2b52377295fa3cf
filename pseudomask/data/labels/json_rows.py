"""Large JSON files of lists, read row by row: as Python objects, COCO's training annotations take gigabytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
Rules = Mapping[str, Callable[[dict[str, Any], int, int], None]]
"""By a list's key: what is done with each of its rows, which begins and ends at these places of the text."""


def read_rows(text: str, rules: Rules) -> None:
    """Hand each row of the top level's lists to its rule; only one row is in memory at a time.

    Raises `ValueError` (`JSONDecodeError` where it is no JSON) for anything but an object with all these lists of
    objects, each once; other values in it are passed over.
    """
    decode_at = json.JSONDecoder(parse_constant=refuse_constant).raw_decode
    place, seen = _past(text, 0, "{"), set()
    while not text.startswith("}", place):
        key, place = decode_at(text, place)
        place = _past(text, place, ":")
        rule = rules.get(key) if isinstance(key, str) else None
        if rule is None:
            _, place = decode_at(text, place)
        elif key in seen or not text.startswith("[", place):
            raise ValueError(f"'{key}' is there twice" if key in seen else f"'{key}' is not a list of objects")
        else:
            seen.add(key)
            place = _past(text, place, "[")
            while not text.startswith("]", place):
                row, end = decode_at(text, place)
                if not isinstance(row, dict):
                    raise ValueError(f"'{key}' is not a list of objects")
                rule(row, place, end)
                place = _comma(text, end, "]")
            place += 1
        place = _comma(text, _skipped(text, place), "}")
    end = _skipped(text, place + 1)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    missing = rules.keys() - seen
    if missing:
        raise ValueError(f"'{min(missing)}' is not a list of objects")


def refuse_constant(name: str) -> None:
    """What Python writes for numbers that JSON does not have."""
    raise ValueError(f"{name} is not a JSON number")


def _skipped(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None  # it matches nothing, too
    return found.end()


def _past(text: str, place: int, mark: str) -> int:
    place = _skipped(text, place)
    if not text.startswith(mark, place):
        raise json.JSONDecodeError(f"{mark} expected", text, place)
    return _skipped(text, place + 1)


def _comma(text: str, place: int, end: str) -> int:
    """The place after a comma, or that of `end`."""
    place = _skipped(text, place)
    return place if text.startswith(end, place) else _past(text, place, ",")
