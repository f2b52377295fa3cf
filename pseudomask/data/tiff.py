"""A TIFF's first directory: its values and bands, and whether Pillow reads the file correctly."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from pseudomask.quoting import count

_FORMS = {1: ("B", 1), 2: ("s", 1), 3: ("H", 2), 4: ("I", 4), 6: ("b", 1), 8: ("h", 2), 9: ("i", 4), 16: ("Q", 8)}
_WANTED = frozenset(
    (254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325, 330, 338, 339, 42113, 50706)
)
_MOST_ENTRIES, _MOST_VALUES = 4096, 1 << 22
_KINDS = {1: "u", 2: "i", 3: "f"}


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
        """The type of a value; None if bands differ or values are packed."""
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
        for i, meaning in enumerate(extras):
            if meaning in (1, 2):
                return self.bands - len(extras) + i
        return 3 if not extras and self.photometric == 2 and self.bands == 4 else None

    @property
    def unexplained(self) -> bool:
        """Whether it has more than three bands and does not say which are red, green and blue."""
        return self.colours > 3 and self.photometric != 2

    @property
    def colours(self) -> int:
        return self.bands - (self.alpha is not None)

    @property
    def camera(self) -> bool:
        """A camera's RAW file, whose first page is a small preview or sensor data."""
        thumbnail = self.one(254, 0) & 1 and 330 in self.tags
        return bool(50706 in self.tags or self.photometric in (32803, 34892) or thumbnail)

    @property
    def ordinary(self) -> bool:
        """Whether Pillow should read it: it does so correctly (8 bits, usual bands), or our reader cannot either."""
        plain = (self.bands, self.photometric) in ((1, 0), (1, 1), (3, 2)) or (
            self.alpha == self.bands - 1 and (self.bands, self.photometric) in ((2, 1), (4, 2))
        )
        planar_alpha = self.one(284, 1) == 2 and self.alpha is not None
        return self.photometric > 2 or self.dtype is None or (self.dtype == np.uint8 and plain and not planar_alpha)

    def what(self) -> str:
        """For people: `TIFF with 13 bands of float32`."""
        kind = "packed values" if self.dtype is None else self.dtype.newbyteorder("=").name
        return f"TIFF with {count(self.bands, 'band')} of {kind}"

    def not_read(self) -> str:
        return f"a {self.what()}: not supported; convert it to 8 or 16 bits"


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
            pages = not int(kind[0]) & 5  # overviews and masks of the first page do not count
        except (ValueError, struct.error, OverflowError):
            pages = False
    return Directory(order, tags, pages)


def _entries(file: IO[bytes], order: str, big: bool, start: int) -> tuple[dict[int, tuple[Any, ...]], int]:
    wide, entry = ("Q", 20) if big else ("I", 12)
    file.seek(start)
    (entries,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    if entries > _MOST_ENTRIES:
        raise ValueError("directory too long")
    table = file.read(entry * entries)
    following = file.read(8 if big else 4)
    tags = {}
    for at in range(0, entry * entries, entry):
        tag, form, n = struct.unpack_from(f"{order}HH{wide}", table, at)
        if form not in _FORMS or n > _MOST_VALUES or tag not in _WANTED:
            continue
        letter, size = _FORMS[form]
        value = at + entry - (8 if big else 4)
        if n * size <= (8 if big else 4):
            data = table[value : value + n * size]
        else:
            file.seek(struct.unpack_from(order + wide, table, value)[0])
            data = file.read(n * size)
        tags[tag] = struct.unpack(f"{order}{n}{letter}", data)
    (after,) = struct.unpack(order + wide, following) if len(following) == struct.calcsize(wide) else (0,)
    return tags, after
