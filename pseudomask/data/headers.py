"""What the first bytes of PNG, PNM and JPEG 2000 files tell of the values in them."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import IO

PNM_HEADER = re.compile(rb"P([56])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,5})\s")
CODE_STREAM = b"\xff\x4f\xff\x51"


def png_bits(head: bytes) -> int:
    """Bits a value, by the first bytes of a PNG file."""
    return head[24]


def pnm_most(head: bytes) -> int:
    """The largest value by the header of a binary PNM file; 255 for other PNM."""
    match = PNM_HEADER.match(head)
    return int(match[4]) if match else 255


def precision(file: IO[bytes]) -> int:
    """Bits a value of a JPEG 2000 file; 8 where no code stream is found."""
    place = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(place)
    start = head.find(CODE_STREAM)
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def is_deep_png(path: Path) -> bool:
    with path.open("rb") as file:
        return png_bits(file.read(25)) == 16


def bare_png(path: Path) -> bytes:
    """Header and pixels alone: OpenCV believes what a damaged chunk says of its length, and takes the memory."""
    data = path.read_bytes()
    body, at = [], 33
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            body.append(data[at + 8 : at + 8 + min(length, len(data))])
        at += 12 + length
    width, height = struct.unpack_from(">II", data, 16)
    channels = {2: 3, 4: 2, 6: 4}[data[25]]
    most = height * (1 + 2 * channels * width) if not data[28] else height * (8 + 2 * channels * width) + 64
    # Unpacked and stored anew: libpng complains on stderr of what follows the last row.
    pixels = b"IDAT" + zlib.compress(zlib.decompressobj().decompress(b"".join(body), most), 0)
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return data[:33] + struct.pack(">I", len(pixels) - 4) + pixels + struct.pack(">I", zlib.crc32(pixels)) + end
