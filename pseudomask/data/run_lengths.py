"""COCO's run-length codes: column by column, the lengths of the runs outside and inside a region in turn.

Codes from elsewhere are read here and not by pycocotools, which trusts their lengths and writes beyond its memory where
they are wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_LONGEST = 7  # letters of one number: 35 bits


def encode(region: np.ndarray) -> dict[str, Any]:
    """bool (H, W) → `{"size": [H, W], "counts": "…"}`, COCO's compressed run-length code as text."""
    code = coco_mask.encode(np.asfortranarray(region, dtype=np.uint8))
    return {"size": list(region.shape), "counts": code["counts"].decode("ascii")}


def runs_of(code: Any) -> tuple[tuple[int, int], np.ndarray]:
    """(H, W) and the run lengths of a code, int64, which sum to H × W; `counts` may be text or a list of numbers.

    Raises `ValueError` with a short reason for anything else.
    """
    if not isinstance(code, dict) or not {"size", "counts"} <= code.keys():
        raise ValueError("a polygon, not a run-length code" if isinstance(code, list) else "not a run-length code")
    size, counts = code["size"], code["counts"]
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and 0 < n < 1 << 20 for n in size):
        raise ValueError(f"'size' must be [height, width], not {str(size)[:40]}")
    if isinstance(counts, str):
        runs = _unpacked(counts)
    elif isinstance(counts, list) and all(type(n) is int and 0 <= n < 1 << 40 for n in counts):
        runs = np.array(counts, np.int64)
    else:
        raise ValueError("'counts' must be text or a list of run lengths")
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise ValueError(f"its run lengths do not add up to {size[1]}x{size[0]} pixels")
    return (size[0], size[1]), runs


def decode(size: tuple[int, int], runs: np.ndarray) -> np.ndarray:
    """What `runs_of` gave as a region, bool (H, W)."""
    inside: np.ndarray = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(size[::-1]).T


def _unpacked(text: str) -> np.ndarray:
    """The numbers in compressed `counts`: five bits a letter, low bits first, from the fourth on as differences."""
    try:
        letters = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise ValueError("'counts' holds letters that no run-length code has") from None
    if not letters.size or letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise ValueError("'counts' is cut off or holds letters that no run-length code has")
    ends = np.flatnonzero(letters < 32)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _LONGEST:
        raise ValueError("'counts' holds a number that is too long")
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(len(letters)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((letters & 31) << shifts, starts)
    runs -= np.where(letters[ends] & 16, np.int64(1) << 5 * lengths, 0)  # negative differences
    for first in (1, 2):
        runs[first::2] = runs[first::2].cumsum()
    return runs
