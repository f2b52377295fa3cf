"""Ids of COCO's images and categories, which some programs write as text (`"1"`) or as floats (`1.0`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def number(value: Any) -> Any:
    """The whole number that an id stands for; other values are returned unchanged."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    return value


class Ids:
    """Finds the defined id: an equal one, else the only one that stands for the same number."""

    def __init__(self, defined: Iterable[int | str]) -> None:
        self._defined = set(defined)
        self._by_number: dict[Any, int | str | None] = {}
        for one in self._defined:
            key = number(one)
            self._by_number[key] = None if key in self._by_number else one
        self.matched = 0

    def find(self, value: Any) -> int | str | None:
        """The defined id; None if there is none or more than one."""
        if isinstance(value, int | str) and value in self._defined:
            return value
        found = self._by_number.get(number(value)) if isinstance(value, int | str | float) else None
        self.matched += found is not None
        return found
