"""COCO's run-length code: lengths of runs, column by column, as printable characters.

A length is written as the difference to that two places before (from the fourth on), in groups of 5 bits, the
lowest first, with a sixth bit where more follow; each group is the character 48 places up in ASCII.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def encode(region: np.ndarray) -> dict[str, Any]:
    """bool (H, W) → `{"size": [H, W], "counts": "…"}`; what COCO calls compressed RLE, as text."""
    height, width = region.shape
    flat = region.ravel(order="F")
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate(([0], borders, [flat.size]))).tolist()
    if flat.size and flat[0]:
        lengths.insert(0, 0)  # the first run is of background
    return {"size": [height, width], "counts": _pack(lengths)}


def decode(code: dict[str, Any]) -> np.ndarray:
    """What was encoded, bool (H, W). Raises ValueError for a code whose runs do not fill its size."""
    height, width = code["size"]
    lengths = _unpack(code["counts"])
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise ValueError(f"runs of {sum(lengths)} pixels in a mask of {height * width}")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape((height, width), order="F")


def _pack(lengths: list[int]) -> str:
    out = bytearray()
    for place, length in enumerate(lengths):
        value = length - lengths[place - 2] if place > 2 else length
        more = True
        while more:
            group, value = value & 0x1F, value >> 5
            more = value != (-1 if group & 0x10 else 0)  # the last group's highest bit is the sign
            out.append(48 + group + (0x20 if more else 0))
    return out.decode("ascii")


def _unpack(text: str) -> list[int]:
    lengths: list[int] = []
    value = shift = 0
    for character in text.encode("ascii"):
        group = character - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("cut in the midst of a run")
    return lengths
