"""Parse the headers of PNM and JPEG 2000 files."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import IO

_PNM = re.compile(rb"P([56])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,5})\s")
_CODE_STREAM = b"\xff\x4f\xff\x51"


@dataclass(frozen=True)
class PnmHeader:
    """A binary PNM file: `size` (W, H), `bands`, `most`: the maximum value, `start`: the offset of the pixels."""

    size: tuple[int, int]
    bands: int
    most: int
    start: int


def pnm_header(head: bytes) -> PnmHeader | None:
    """The header in a file's first bytes; None for text PNM and bitmaps."""
    match = _PNM.match(head)
    if match is None:
        return None
    return PnmHeader((int(match[2]), int(match[3])), 3 if match[1] == b"6" else 1, int(match[4]), match.end())


def code_stream_size(file: IO[bytes]) -> tuple[int, int]:
    """(W, H) in a JPEG 2000 file's code stream; (0, 0) without one."""
    found = _code_stream(file)
    right, bottom, left, top = struct.unpack_from(">4I", found, 8) if found else (0, 0, 0, 0)
    return right - left, bottom - top


def precision(file: IO[bytes]) -> int:
    """Bits per value in a JPEG 2000 file; 8 without a code stream."""
    found = _code_stream(file)
    return (found[42] & 0x7F) + 1 if len(found) > 42 else 8


def _code_stream(file: IO[bytes]) -> bytes:
    place = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(place)
    start = head.find(_CODE_STREAM)
    return head[start:] if start >= 0 else b""
