"""Label Studio's run-length code of brush masks: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack."""

from __future__ import annotations

import numpy as np

_SIZES = (3, 4, 8, 16)  # bits of a run's length; two bits before the length say which
_LONGEST = 1 << 16


def brush_code(region: np.ndarray) -> list[int]:
    """bool (H, W) → the bytes of the code. Each pixel counts as four values (red, green, blue, alpha), 255 inside."""
    flat = np.asarray(region, bool).ravel()
    borders = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], borders])
    lengths = np.diff(np.concatenate([starts, [flat.size]])) * 4
    bits = [f"{flat.size * 4:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for inside, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        value = "1" * 8 if inside else "0" * 8
        while length > 0:
            run = min(length, _LONGEST)
            which = next(i for i, size in enumerate(_SIZES) if run <= 1 << size)
            bits.append(f"1{which:02b}{run - 1:0{_SIZES[which]}b}{value}")
            length -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
