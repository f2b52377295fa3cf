"""EXIF orientation: read it, and rotate pixels accordingly."""

from __future__ import annotations

import struct

import numpy as np


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W) or (H, W, n) rotated according to EXIF `orientation` 1..8; contiguous."""
    if orientation >= 5:  # rows and columns change places
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def exif_orientation(block: object) -> int:
    """The orientation (1..8) in an EXIF block's first directory; 1 without a valid one.

    Pillow's reader warns, process-wide, about the damaged blocks that cameras and editors write.
    """
    if not isinstance(block, bytes):
        return 1
    tiff = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        return _entry(tiff, order) if order else 1
    except struct.error:
        return 1


def _entry(tiff: bytes, order: str) -> int:
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, form, _ = struct.unpack_from(order + "HHI", tiff, at)
        if tag == 0x0112:
            number = {1: "B", 3: "H", 4: "I"}.get(form)  # other readers accept wider numbers too
            value = int(struct.unpack_from(order + number, tiff, at + 8)[0]) if number else 1
            return value if 1 <= value <= 8 else 1
    return 1
