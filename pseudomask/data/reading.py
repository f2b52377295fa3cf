"""How numbers in a file become the levels of a photo: which range is black to white, which bands are red, green, blue.

8-bit photos need none of it. For others the range is given, or found by looking at a folder (`data.survey`), or, for a
file decoded on its own, taken from its own values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pseudomask.config.common import PhotoReadingOptions

Alpha = Literal["white", "ignore"]
Span = tuple[float, float]
"""The values that become 0 and 255."""

BITS = (8, 10, 12, 14, 16)


class ReadingProblem(ValueError):
    """The file is sound, but is not read, or not with these choices; the message is for people."""


@dataclass(frozen=True)
class Reading:
    """How photos are read.

    Attributes:
        bits: significant bits of unsigned 16-bit values; None: as the file's own brightest value tells.
        span: range of all other values (float, signed, 32-bit); either serves for the other where that is None.
        bands: positions from 1 of the bands that become red, green and blue (one: grey); empty: as the file tells.
        alpha: what becomes of transparent pixels.
        guessed: `bits` and `span` are what other photos of the folder told: a photo that they do not cover is refused.
    """

    bits: int | None = None
    span: Span | None = None
    bands: tuple[int, ...] = ()
    alpha: Alpha = "white"
    guessed: bool = False

    @classmethod
    def of(cls, options: PhotoReadingOptions, *, guessed: bool = False) -> Reading:
        bits = None if options.bits == "auto" else options.bits
        return cls(bits, options.value_range, options.bands, options.alpha, guessed)

    @classmethod
    def recorded(cls, config: object) -> Reading:
        """From the config in a run's record; what is absent or damaged there takes its default."""
        known = config if isinstance(config, dict) else {}
        bits, span, bands = known.get("bits"), known.get("value_range"), known.get("bands")
        return cls(
            bits=bits if type(bits) is int and 8 <= bits <= 16 else None,
            span=_span(span),
            bands=tuple(bands)
            if isinstance(bands, list) and all(type(one) is int and one > 0 for one in bands)
            else (),
            alpha="ignore" if known.get("alpha") == "ignore" else "white",
        )

    def fixed(self, dtype: np.dtype[Any]) -> Span | None:
        """The range for values of this type, where it does not depend on the file."""
        by_bits = None if self.bits is None else (0.0, 2.0**self.bits - 1)
        if dtype == np.uint8:
            return (0.0, 255.0)
        return (by_bits or self.span) if dtype.kind == "u" and dtype.itemsize == 2 else (self.span or by_bits)


AS_IT_COMES = Reading()
"""How a file is read on its own."""


def _span(value: object) -> Span | None:
    if not isinstance(value, list) or len(value) != 2 or not all(type(one) in (int, float) for one in value):
        return None
    return (float(value[0]), float(value[1])) if value[0] < value[1] else None


def choose_bands(n: int, alpha: int | None, *, told: bool, reading: Reading, what: str) -> tuple[int, ...]:
    """Positions from 0 of the bands to read: three, or one for grey.

    Args:
        n: bands in the file; `alpha`: position of the one that is transparency.
        told: the file says that its first three are red, green and blue.
        what: the file's kind, for the message.

    Raises `ReadingProblem` where nothing tells which bands are meant, or there are fewer than asked for.
    """
    if reading.bands:
        if max(reading.bands) > n > 1:
            raise ReadingProblem(f"{what}; --bands asks for band {max(reading.bands)}")
        return tuple(0 if n == 1 else band - 1 for band in reading.bands)
    colours = [band for band in range(n) if band != alpha]
    if len(colours) <= 2:
        return (colours[0],)
    if len(colours) == 3 or told:
        return tuple(colours[:3])
    raise ReadingProblem(
        f"{what}, and nothing in it tells which are red, green and blue: give --bands R,G,B, counted from 1"
    )
