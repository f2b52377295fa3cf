"""How values in a file become the levels of a photo: which range is black to white, which bands are red, green, blue.

8-bit photos do not need it. For others, the range is given, inferred from the folder (`data.survey`), or, for a file
decoded on its own, inferred from its own values.
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
    """The file is intact but not supported, or not with these settings."""


@dataclass(frozen=True)
class Reading:
    """How photos are read.

    Attributes:
        bits: significant bits of unsigned 16-bit values; None infers them from the file's brightest value.
        span: range of all other values (float, signed, 32-bit). If one of the two is None, the other is used.
        bands: positions, from 1, of the bands that become red, green and blue (one band: grey); empty: the file's own.
        alpha: what happens to transparent pixels.
        guessed: `bits` and `span` were inferred from other photos, so photos outside that range are refused.
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
        """From the config in a run's record; absent and invalid values take their defaults."""
        known = config if isinstance(config, dict) else {}
        bits, span, bands = known.get("bits"), known.get("value_range"), known.get("bands")
        return cls(
            bits=bits if type(bits) is int and 8 <= bits <= 16 else None,
            span=_span(span),
            bands=_bands(bands),
            alpha="ignore" if known.get("alpha") == "ignore" else "white",
        )

    def fixed(self, dtype: np.dtype[Any]) -> Span | None:
        """The range for values of this type; None if it depends on the file."""
        by_bits = None if self.bits is None else (0.0, 2.0**self.bits - 1)
        if dtype == np.uint8:
            return (0.0, 255.0)
        return (by_bits or self.span) if dtype.kind == "u" and dtype.itemsize == 2 else (self.span or by_bits)


AS_IT_COMES = Reading()
"""Everything inferred from the file itself."""


def _bands(value: object) -> tuple[int, ...]:
    valid = isinstance(value, list) and all(type(one) is int and one > 0 for one in value)
    return tuple(value) if isinstance(value, list) and valid else ()


def _span(value: object) -> Span | None:
    if not isinstance(value, list) or len(value) != 2 or not all(type(one) in (int, float) for one in value):
        return None
    return (float(value[0]), float(value[1])) if value[0] < value[1] else None


def choose_bands(n: int, alpha: int | None, *, is_rgb: bool, reading: Reading, what: str) -> tuple[int, ...]:
    """Positions, from 0, of the bands to read: three, or one for grey.

    Args:
        n: number of bands in the file; `alpha`: position of the transparency band.
        is_rgb: the file declares that its first three bands are red, green and blue.
        what: the file's kind, for the message.

    Raises `ReadingProblem` if it is unclear which bands to read, or there are fewer than requested.
    """
    if reading.bands:
        if max(reading.bands) > n > 1:
            raise ReadingProblem(f"{what}; --bands asks for band {max(reading.bands)}")
        return tuple(0 if n == 1 else band - 1 for band in reading.bands)
    colours = [band for band in range(n) if band != alpha]
    if len(colours) <= 2:
        return (colours[0],)
    if len(colours) == 3 or is_rgb:
        return tuple(colours[:3])
    raise ReadingProblem(f"{what}, and it is unclear which are red, green and blue: give --bands R,G,B, counted from 1")
