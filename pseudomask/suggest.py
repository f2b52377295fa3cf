"""The nearest valid name, for error messages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from pseudomask.quoting import listed, quoted


def nearest(name: str, valid: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The valid name closest to `name`, ignoring case; None if none is close."""
    by_lower = {one.lower(): one for one in valid}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def which_of(name: str, valid: Sequence[str], most: int = 3) -> str:
    """`did you mean 'cat' or 'cow'?`, the nearest first; without near names, the first valid ones."""
    by_lower = {one.lower(): one for one in valid}
    close = [quoted(by_lower[one]) for one in get_close_matches(name.lower(), by_lower, n=most)]
    return f"did you mean {' or '.join(close)}?" if close else f"choose from {listed(valid, 12)}"


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'cat'?`, or an empty string."""
    near = nearest(name, valid)
    return f"; did you mean {quoted(near)}?" if near else ""


def did_you_mean_path(missing: Path) -> str:
    """`; did you mean 'photos/cats'?` if the first missing part of the path has a similar name, or empty."""
    there = missing
    while not there.exists() and there != there.parent:
        there = there.parent
    name, *rest = missing.relative_to(there).parts or ("",)
    try:
        with os.scandir(there) as entries:
            near = nearest(name, (entry.name for entry in islice(entries, 5000)))
    except OSError:
        return ""
    found = there.joinpath(near, *rest) if near else None
    return f"; did you mean {quoted(found)}?" if found is not None and found.exists() else ""
