"""TIFF files of the kinds that Pillow reads wrongly or not at all: wide, signed, float, planar or many-band pixels.

The first directory is read by hand, as far as it is needed. Strips and tiles are unpacked one by one: stored and
deflate ones here, those of other lossless kinds by Pillow's libtiff, to which each is given as a grey image.
Every size is known from the directory before memory is taken.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import TiffImagePlugin

from pseudomask.data.reading import Raw, Reading, choose_bands

_FORMS = {1: ("B", 1), 2: ("s", 1), 3: ("H", 2), 4: ("I", 4), 6: ("b", 1), 8: ("h", 2), 9: ("i", 4), 16: ("Q", 8)}
_MOST_ENTRIES, _MOST_VALUES = 4096, 1 << 22
_STORED, _DEFLATE, _BY_LIBTIFF = 1, (8, 32946), (5, 32773, 34925, 50000)  # LZW, PackBits, LZMA, Zstandard
_NAMES = {6: "old JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL"}
_KINDS = {1: "u", 2: "i", 3: "f"}


class NotRead(ValueError):
    """A sound TIFF of a kind that is not read; the message says which."""


@dataclass(frozen=True)
class Directory:
    """The first directory. `tags`: values by number; `order`: `<` or `>`; `pages`: whether a second page follows."""

    order: str
    tags: dict[int, tuple[Any, ...]]
    pages: bool

    def one(self, tag: int, default: int) -> int:
        values = self.tags.get(tag)
        return int(values[0]) if values else default

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) as stored."""
        return self.one(257, 0), self.one(256, 0)

    @property
    def orientation(self) -> int:
        value = self.one(274, 1)
        return value if 1 <= value <= 8 else 1

    @property
    def bands(self) -> int:
        return self.one(277, 1)

    @property
    def photometric(self) -> int:
        return self.one(262, 1)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Of one value; None where bands differ or are packed."""
        bits, forms = set(self.tags.get(258, (1,))), set(self.tags.get(339, (1,)))
        kind = _KINDS.get(int(forms.pop()), "") if len(forms) == 1 else ""
        width = int(bits.pop()) if len(bits) == 1 else 0
        if not kind or width not in ((16, 32, 64) if kind == "f" else (8, 16, 32)):
            return None
        return np.dtype(f"{self.order}{kind}{width // 8}")

    @property
    def alpha(self) -> int | None:
        """Position of the band that is marked as transparency."""
        extras = self.tags.get(338, ())
        for place, meaning in enumerate(extras):
            if meaning in (1, 2):
                return self.bands - len(extras) + place
        return 3 if not extras and self.photometric == 2 and self.bands == 4 else None

    @property
    def camera(self) -> bool:
        """A camera's RAW file, whose first page is a small preview or sensor data."""
        thumbnail = self.one(254, 0) & 1 and 330 in self.tags
        return bool(50706 in self.tags or self.photometric in (32803, 34892) or thumbnail)

    @property
    def ordinary(self) -> bool:
        """Whether Pillow reads it, and rightly: 8 bits, with bands that the kind of colours has."""
        plain = (self.bands, self.photometric) in ((1, 0), (1, 1), (3, 2)) or (
            self.alpha == self.bands - 1 and (self.bands, self.photometric) in ((2, 1), (4, 2))
        )
        planar_alpha = self.one(284, 1) == 2 and self.alpha is not None
        return self.photometric > 2 or self.dtype is None or (self.dtype == np.uint8 and plain and not planar_alpha)

    def what(self) -> str:
        """For people: `TIFF with 13 bands of float32`."""
        kind = "packed values" if self.dtype is None else self.dtype.newbyteorder("=").name
        return f"TIFF with {self.bands} band{'s' * (self.bands != 1)} of {kind}"

    def kept(self, reading: Reading) -> tuple[int, ...]:
        """Positions of the bands to read. Raises `ReadingProblem`."""
        return choose_bands(
            self.bands, self.alpha, told=self.photometric == 2, reading=reading, what=f"a {self.what()}"
        )


def read_directory(file: IO[bytes]) -> Directory:
    """The directory that the header points to. Raises ValueError or struct.error for a damaged one."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"\x2b\0", b"\0\x2b")
    start = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
    tags, following = _entries(file, order, big, start)
    pages = False
    if following:
        try:
            kind = _entries(file, order, big, following)[0].get(254, (0,))
            pages = not int(kind[0]) & 5  # overviews and masks of the first page are no pages
        except (ValueError, struct.error, OverflowError):
            pages = False
    return Directory(order, tags, pages)


def _entries(file: IO[bytes], order: str, big: bool, start: int) -> tuple[dict[int, tuple[Any, ...]], int]:
    wide, entry = ("Q", 20) if big else ("I", 12)
    file.seek(start)
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    if count > _MOST_ENTRIES:
        raise ValueError("directory too long")
    table = file.read(entry * count)
    following = file.read(8 if big else 4)
    tags = {}
    for at in range(0, entry * count, entry):
        tag, form, n = struct.unpack_from(f"{order}HH{wide}", table, at)
        if form not in _FORMS or n > _MOST_VALUES or tag not in _WANTED:
            continue
        letter, size = _FORMS[form]
        place = at + entry - (8 if big else 4)
        if n * size <= (8 if big else 4):
            data = table[place : place + n * size]
        else:
            file.seek(struct.unpack_from(order + wide, table, place)[0])
            data = file.read(n * size)
        tags[tag] = struct.unpack(f"{order}{n}{letter}", data)
    (after,) = struct.unpack(order + wide, following) if len(following) == struct.calcsize(wide) else (0,)
    return tags, after


_WANTED = frozenset(
    (254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325, 330, 338, 339, 42113, 50706)
)


def read_pixels(file: IO[bytes], directory: Directory, reading: Reading, max_bytes: int) -> Raw:
    """The bands that `reading` asks for. Raises `NotRead`, `ReadingProblem`, ValueError, EOFError, MemoryError."""
    dtype, (height, width) = directory.dtype, directory.size
    if dtype is None:
        raise NotRead(f"a {directory.what()}: not read; convert it to 8 or 16 bits")
    kept, alpha = directory.kept(reading), directory.alpha
    with_alpha = alpha is not None and alpha not in kept and reading.alpha == "white"
    wanted = (*kept, alpha) if with_alpha else kept
    if height * width * len(wanted) * dtype.itemsize > max_bytes:
        raise NotRead(f"too large: {width}x{height} pixels of {len(wanted)} bands of {dtype.itemsize} bytes")
    out = np.zeros((height, width, len(wanted)), dtype.newbyteorder("="))
    planar = directory.one(284, 1) == 2
    groups = [(band, [band]) for band in range(directory.bands)] if planar else [(0, list(range(directory.bands)))]
    for plane, held in groups:
        places = [(place, held.index(band)) for place, band in enumerate(wanted) if band in held]
        if places:
            for rows, columns, part in _parts(file, directory, dtype, plane, len(held), max_bytes):
                for place, band in places:
                    out[rows, columns, place] = part[: out[rows].shape[0], : out[rows, columns].shape[1], band]
    marks = directory.tags.get(338, ())
    return Raw(
        values=out[:, :, : len(kept)],
        alpha=out[:, :, -1] if with_alpha else None,
        premultiplied=with_alpha and 1 in marks and 2 not in marks,
        inverted=directory.photometric == 0,
        no_data=_no_data(directory),
    )


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
    tiled = 322 in directory.tags
    tall = directory.one(323, 0) if tiled else min(directory.one(278, height), height)
    wide = directory.one(322, 0) if tiled else width
    starts, counts = directory.tags.get(324 if tiled else 273, ()), directory.tags.get(325 if tiled else 279, ())
    if tall < 1 or wide < 1 or (tiled and (tall > 1 << 16 or wide > 1 << 16)):
        raise ValueError("no sensible strips")
    if tall * wide * bands * dtype.itemsize > max_bytes:
        raise NotRead(f"too large: strips of {wide}x{tall} pixels of {bands} bands of {dtype.itemsize} bytes")
    across, down = -(-width // wide), -(-height // tall)
    first = plane * across * down
    if len(starts) < first + across * down or len(counts) < first + across * down:
        raise EOFError("fewer strips than rows")
    for i in range(across * down):
        top, left = i // across * tall, i % across * wide
        rows = tall if tiled else min(tall, height - top)
        size = rows * wide * bands * dtype.itemsize
        packed = _bytes(file, starts[first + i], counts[first + i], size)
        data = _unpacked(packed, directory.one(259, 1), rows, size // rows, size)
        part = _unpredicted(data, directory.one(317, 1), dtype, (rows, wide, bands))
        yield slice(top, min(top + rows, height)), slice(left, min(left + wide, width)), part


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
        raise NotRead(
            f"TIFF compression {_NAMES.get(how, how)} of such pixels is not read; store it with LZW or deflate"
        )
    if len(data) < size:
        raise EOFError("truncated")
    return data


def _by_libtiff(packed: bytes, how: int, rows: int, width: int) -> bytes:
    tags = (
        (256, width),
        (257, rows),
        (258, 8),
        (259, how),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, rows),
        (279, len(packed)),
    )
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = 8 + len(packed) + len(packed) % 2
    head = struct.pack("<2sHI", b"II", 42, start) + packed + b"\0" * (len(packed) % 2)
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
        raise NotRead(f"TIFF predictor {predictor} is not read")
    return np.frombuffer(data, dtype).reshape(rows, wide, bands)
