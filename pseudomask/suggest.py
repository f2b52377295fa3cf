"""The nearest valid name, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, valid: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The valid name most like `name`, whatever their case; None where none is near."""
    by_lower = {one.lower(): one for one in valid}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'cat'?`, or nothing."""
    near = nearest(name, valid)
    return f"; did you mean {near!r}?" if near else ""
