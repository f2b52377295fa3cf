"""Read TIFF pixels that Pillow reads incorrectly or not at all: wide, signed, float, planar or with many bands.

Strips and tiles are unpacked one by one: stored and deflate ones here, other lossless compressions by Pillow's libtiff,
which gets each as a grey image. All sizes are checked from the directory before memory is allocated.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
from PIL import TiffImagePlugin

from pseudomask.data.levels import Raw
from pseudomask.data.reading import Reading, ReadingProblem, choose_bands
from pseudomask.data.tiff import Directory

_STORED, _DEFLATE, _BY_LIBTIFF = 1, (8, 32946), (5, 32773, 34925, 50000)  # LZW, PackBits, LZMA, Zstandard
_NAMES = {6: "old JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL"}


def read_pixels(file: IO[bytes], directory: Directory, reading: Reading, max_bytes: int) -> Raw:
    """The bands requested by `reading`. Raises `ReadingProblem`, ValueError, EOFError, MemoryError."""
    dtype, (height, width), alpha = directory.dtype, directory.size, directory.alpha
    if dtype is None:
        raise ReadingProblem(directory.not_read())
    is_rgb = directory.photometric == 2
    kept = choose_bands(directory.bands, alpha, is_rgb=is_rgb, reading=reading, what=f"a {directory.what()}")
    with_alpha = alpha is not None and alpha not in kept and reading.alpha == "white"
    wanted = (*kept, alpha) if with_alpha else kept
    if height * width * len(wanted) * dtype.itemsize > max_bytes:
        raise ReadingProblem(f"too large: {width}x{height} pixels of {len(wanted)} bands of {dtype.itemsize} bytes")
    out = np.zeros((height, width, len(wanted)), dtype.newbyteorder("="))
    for plane, held in _planes(directory):
        places = [(place, held.index(band)) for place, band in enumerate(wanted) if band in held]
        if places:
            for rows, columns, part in _parts(file, directory, dtype, plane, len(held), max_bytes):
                target = out[rows, columns]
                for place, band in places:
                    target[:, :, place] = part[: target.shape[0], : target.shape[1], band]
    marks = directory.tags.get(338, ())
    return Raw(
        values=out[:, :, : len(kept)],
        alpha=out[:, :, -1] if with_alpha else None,
        premultiplied=with_alpha and 1 in marks and 2 not in marks,
        inverted=directory.photometric == 0,
        no_data=_no_data(directory),
    )


def _planes(directory: Directory) -> list[tuple[int, Sequence[int]]]:
    """Each plane's number and its bands."""
    bands = range(directory.bands)
    return [(band, [band]) for band in bands] if directory.one(284, 1) == 2 else [(0, bands)]


def _no_data(directory: Directory) -> float | None:
    """GDAL's tag."""
    try:
        return float(directory.tags[42113][0].split(b"\0")[0])
    except (KeyError, ValueError, IndexError, AttributeError):
        return None


def _parts(
    file: IO[bytes], directory: Directory, dtype: np.dtype[Any], plane: int, bands: int, max_bytes: int
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """(rows, columns, values (h, w, bands)) of each strip or tile of a plane."""
    height, width = directory.size
    tiled, tall, wide = _part_size(directory)
    if tall * wide * bands * dtype.itemsize > max_bytes:
        raise ReadingProblem(f"too large: strips of {wide}x{tall} pixels of {bands} bands of {dtype.itemsize} bytes")
    across, down = -(-width // wide), -(-height // tall)
    first, end = plane * across * down, (plane + 1) * across * down
    places = [directory.tags.get(tag, ())[first:end] for tag in ((324, 325) if tiled else (273, 279))]
    if min(map(len, places)) < across * down:
        raise EOFError("fewer strips than rows")
    for i, (start, count) in enumerate(zip(*places, strict=True)):
        top, left = i // across * tall, i % across * wide
        rows = tall if tiled else min(tall, height - top)
        size = rows * wide * bands * dtype.itemsize
        data = _unpacked(_bytes(file, start, count, size), directory.one(259, 1), rows, size // rows, size)
        part = _unpredicted(data, directory.one(317, 1), dtype, (rows, wide, bands))
        yield slice(top, min(top + rows, height)), slice(left, min(left + wide, width)), part


def _part_size(directory: Directory) -> tuple[bool, int, int]:
    """Whether the parts are tiles, not strips; their height and width."""
    height, width = directory.size
    tiled = 322 in directory.tags
    tall = directory.one(323, 0) if tiled else min(directory.one(278, height), height)
    wide = directory.one(322, 0) if tiled else width
    if tall < 1 or wide < 1 or (tiled and max(tall, wide) > 1 << 16):
        raise ValueError("no sensible strips")
    return tiled, tall, wide


def _bytes(file: IO[bytes], start: int, count: int, size: int) -> bytes:
    if count > 2 * size + 65536:
        raise ValueError("a strip larger than its pixels")
    file.seek(start)
    data = file.read(count)
    if len(data) < count:
        raise EOFError("truncated")
    return data


def _unpacked(packed: bytes, how: int, rows: int, width: int, size: int) -> bytes:
    """The `size` bytes of a strip: `rows` of `width`."""
    if how == _STORED:
        data = packed[:size]
    elif how in _DEFLATE:
        data = zlib.decompressobj().decompress(packed, size)
    elif how in _BY_LIBTIFF:
        data = _by_libtiff(packed, how, rows, width)
    else:
        raise ReadingProblem(
            f"TIFF compression {_NAMES.get(how, how)} of such pixels is not supported; store it with LZW or deflate"
        )
    if len(data) < size:
        raise EOFError("truncated")
    return data


def _by_libtiff(packed: bytes, how: int, rows: int, width: int) -> bytes:
    tags = {256: width, 257: rows, 258: 8, 259: how, 262: 1, 273: 8, 277: 1, 278: rows, 279: len(packed)}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    body = packed + b"\0" * (len(packed) % 2)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body
    content = head + struct.pack("<H", len(tags)) + table + b"\0\0\0\0"
    with TiffImagePlugin.TiffImageFile(io.BytesIO(content)) as image:
        image.load()
        return image.tobytes()


def _unpredicted(data: bytes, predictor: int, dtype: np.dtype[Any], shape: Sequence[int]) -> np.ndarray:
    rows, wide, bands = shape
    if predictor == 3 and dtype.kind == "f":
        planes = np.frombuffer(data, np.uint8).reshape(rows, -1, bands)
        planes = np.cumsum(planes, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, wide * bands)
        whole = np.ascontiguousarray(planes.transpose(0, 2, 1))
        return whole.view(f">f{dtype.itemsize}").reshape(rows, wide, bands)
    if predictor == 2:
        plain = np.frombuffer(data, f"{dtype.str[0].replace('|', '<')}u{dtype.itemsize}").reshape(rows, wide, bands)
        native = np.cumsum(plain, axis=1, dtype=plain.dtype.newbyteorder("="))
        return native.view(dtype.newbyteorder("="))
    if predictor != 1:
        raise ReadingProblem(f"TIFF predictor {predictor} is not supported")
    return np.frombuffer(data, dtype).reshape(rows, wide, bands)
