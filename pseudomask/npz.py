"""Read arrays from an untrusted `.npz` file: unpickle nothing, and decompress no more than expected."""

from __future__ import annotations

import bz2
import io
import math
import re
import struct
import zipfile
import zlib
from typing import BinaryIO

import numpy as np

_MAX_HEADER = 1 << 10  # bytes of an .npy header; ours take 128
# Matched without spaces. NumPy's reader passes this text to Python's parser, which raises all kinds of errors.
_HEADER = re.compile(rb"\{'descr':'([|<>]u[124])','fortran_order':(True|False),'shape':\(([\d,]*)\),?\}\n?")


def read_array(
    file: BinaryIO, info: zipfile.ZipInfo, dtypes: str, shape: tuple[int, ...] | None, *, most: int
) -> np.ndarray:
    """Read one array of a `.npz` file, with a dtype in `dtypes`.

    shape: the expected shape; None means a vector with at most `most` items. Raises ValueError for anything else, and
    for damaged, encrypted or unusually compressed members.
    """
    count = most if shape is None else math.prod(shape)
    data = _decompress(file, info, _MAX_HEADER + count * max(np.dtype(d).itemsize for d in dtypes) + 1)
    start = 10 + int.from_bytes(data[8:10], "little")
    header = _HEADER.fullmatch(data[10:start].replace(b" ", b"")) if start <= _MAX_HEADER else None
    if data[:8] != b"\x93NUMPY\x01\x00" or header is None:
        raise ValueError(f"{info.filename}: not a version 1.0 array of unsigned integers")
    dtype, fortran = np.dtype(header[1].decode()), header[2] == b"True"
    stored = tuple(int(side) for side in header[3].split(b",") if side)
    if dtype.char not in dtypes or not dtype.isnative or (fortran and len(stored) > 1):
        raise ValueError(f"{info.filename}: unexpected dtype {dtype} or order")
    if stored != shape if shape is not None else len(stored) != 1 or stored[0] > most:
        raise ValueError(f"{info.filename}: unexpected shape {stored}")
    count = math.prod(stored)
    if len(data) != start + count * dtype.itemsize or zlib.crc32(data) != info.CRC:
        raise ValueError(f"{info.filename}: damaged")
    return np.frombuffer(data, dtype, count, start).reshape(stored)


def _decompress(file: BinaryIO, info: zipfile.ZipInfo, limit: int) -> bytes:
    """The first `limit` bytes of a member.

    Avoids zipfile's reader, which expands whole bzip2 blocks before it checks the limit, so that a few
    kilobytes could expand to gigabytes.
    """
    file.seek(info.header_offset)
    local = file.read(30)
    if len(local) != 30 or local[:4] != b"PK\x03\x04" or info.flag_bits & 0x1:
        raise ValueError(f"{info.filename}: damaged or encrypted")
    name_length, extra_length = struct.unpack("<HH", local[26:30])
    file.seek(name_length + extra_length, io.SEEK_CUR)
    if info.compress_type == zipfile.ZIP_STORED:
        return file.read(min(limit, info.file_size))
    raw = file.read(min(info.compress_size, 2 * limit + (1 << 16)))  # neither method doubles the size of its input
    if info.compress_type == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(raw, limit)
    if info.compress_type == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-15).decompress(raw, limit)
    raise ValueError(f"{info.filename}: unknown compression {info.compress_type}")
