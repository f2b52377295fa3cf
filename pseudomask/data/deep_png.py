"""Read colour PNGs with 16 bits per value, of which Pillow keeps 8."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np


def read_deep_png(path: Path, size: tuple[int, int]) -> np.ndarray:
    """uint16 (H, W, 3), or (H, W, 1) of grey, without alpha; `size` is (W, H).

    For files that Pillow can decode. Raises ValueError if OpenCV cannot.
    """
    found = cv2.imdecode(np.frombuffer(_bare(path.read_bytes()), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.shape[1::-1] != size:
        raise ValueError("16-bit PNG")
    grey = found.ndim == 2 or found.shape[2] < 3
    return found.reshape(*found.shape[:2], -1)[:, :, :1] if grey else found[:, :, 2::-1]


def _bare(data: bytes) -> bytes:
    """The file with only header and pixels: OpenCV allocates whatever length a damaged chunk claims."""
    body, at = [], 33
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            body.append(data[at + 8 : at + 8 + min(length, len(data))])
        at += 12 + length
    width, height = struct.unpack_from(">II", data, 16)
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[data[25]]
    most = height * (1 + 2 * channels * width) if not data[28] else height * (8 + 2 * channels * width) + 64
    # Unpacked and packed again, because libpng complains on stderr about data after the last row.
    pixels = zlib.compress(zlib.decompressobj().decompress(b"".join(body), most), 0)
    return data[:33] + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
