"""How numbers in a file become the levels of a photo: which range is black to white, which bands are red, green, blue.

8-bit photos need none of it. For others the range is given, or found by looking at a folder (`data.survey`), or, for a
file decoded on its own, taken from its own values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image

Alpha = Literal["white", "ignore"]
Span = tuple[float, float]
"""The values that become 0 and 255."""

BITS = (8, 10, 12, 14, 16)
_NO_DATA = (-9999.0, -99999.0, -32768.0, -2147483648.0)  # written by GIS and scanner software for "nothing measured"
_HUGE = 1e30
_BEYOND = 0.001  # share of a photo's values that may lie outside a range that was inferred from other photos
_BLOCK = 1 << 22  # values scaled at once: the temporaries are float64


class PhotoSettings(Protocol):
    """What every config has that inherits `PhotoReadingOptions`."""

    @property
    def bits(self) -> Any: ...
    @property
    def value_range(self) -> Any: ...
    @property
    def bands(self) -> Any: ...
    @property
    def alpha(self) -> Any: ...


class ReadingProblem(ValueError):
    """The file is sound, but these choices do not fit it; the message is for people."""


@dataclass(frozen=True)
class Reading:
    """How photos are read.

    Attributes:
        bits: significant bits of unsigned 16-bit values; None: as the file's own brightest value tells.
        span: range of all other values (float, signed, 32-bit); either serves for the other where that is None.
        bands: positions from 1 of the bands that become red, green and blue (one: grey); empty: as the file tells.
        alpha: what becomes of transparent pixels.
        guessed: `bits` and `span` were inferred from a sample, so that a photo that exceeds them is refused, not cut.
    """

    bits: int | None = None
    span: Span | None = None
    bands: tuple[int, ...] = ()
    alpha: Alpha = "white"
    guessed: bool = False

    @classmethod
    def of(cls, options: PhotoSettings, *, guessed: bool = False) -> Reading:
        """From a config with `PhotoReadingOptions`."""
        bits = None if options.bits == "auto" else int(options.bits)
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


@dataclass(frozen=True)
class Raw:
    """A photo as its file holds it.

    Attributes:
        values: (H, W, n) of the bands that are read, in their order.
        alpha: uint8 or wider (H, W), or None; `premultiplied`: colours were multiplied by it.
        inverted: the largest value is black.
        no_data: value that the file says means nothing was measured.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None
    premultiplied: bool = False
    inverted: bool = False
    no_data: float | None = None


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


def infer(low: float, high: float, *, is_float: bool) -> Span:
    """The range that values between `low` and `high` were probably meant in."""
    if low >= 0 and is_float and high <= 1:
        return (0.0, 1.0)
    if low >= 0 and high > 0:
        for bits in BITS:
            if high < 2**bits:
                return (0.0, 2.0**bits - 1)
    return (low, high) if high > low else (0.0, 65535.0) if 0 <= low <= 65535 else (low - 1, low + 1)


def limits(raw: Raw) -> Span | None:
    """The smallest and the largest value that was measured; None where there is none."""
    low, high = np.inf, -np.inf
    for block in _blocks(raw.values):
        known = _measured(block, raw.no_data)
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    return (low, high) if low <= high else None


def render(raw: Raw, reading: Reading) -> np.ndarray:
    """uint8 (H, W, 3): the values scaled, transparent pixels laid over white unless `reading.alpha` says otherwise.

    Raises `ReadingProblem` where the values exceed an inferred range, or none of them was measured.
    """
    is_float = raw.values.dtype.kind == "f"
    span = reading.fixed(raw.values.dtype)
    if span is None:
        span = infer(*(limits(raw) or (0.0, 0.0)), is_float=is_float)
    elif reading.guessed and raw.values.dtype != np.uint8:
        _check(raw, span)
    levels = _scaled(raw, span)
    if levels.shape[2] == 1:
        levels = np.repeat(levels, 3, axis=2)
    if raw.alpha is None or reading.alpha == "ignore":
        return levels
    return over_white(levels, _alpha_levels(raw.alpha, span), premultiplied=raw.premultiplied)


def over_white(levels: np.ndarray, alpha: np.ndarray, *, premultiplied: bool = False) -> np.ndarray:
    """uint8 (H, W, 3) of colours (H, W, 3) and alpha (H, W), both uint8, on a white ground."""
    layer = Image.fromarray(np.dstack([levels, alpha]))
    if premultiplied:
        layer = Image.frombytes("RGBa", layer.size, layer.tobytes()).convert("RGBA")
    sheet = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    sheet.alpha_composite(layer)
    return np.array(sheet.convert("RGB"))


def _alpha_levels(alpha: np.ndarray, span: Span) -> np.ndarray:
    """Full opacity is the type's largest value, or that of the colours where no pixel exceeds it."""
    if alpha.dtype == np.uint8:
        return alpha
    most = float(alpha.max(initial=0))
    top = 1.0 if alpha.dtype.kind == "f" and most <= 1 else span[1]
    if most > top:
        top = float(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "ui" else most
    return _scaled(Raw(alpha[:, :, None]), (0.0, top))[:, :, 0]


def _check(raw: Raw, span: Span) -> None:
    beyond, total, low, high = 0, 0, np.inf, -np.inf
    for block in _blocks(raw.values):
        known = _measured(block, raw.no_data)
        outside = known[(known < span[0]) | (known > span[1])]
        beyond, total = beyond + outside.size, total + known.size
        if outside.size:
            low, high = min(low, float(outside.min())), max(high, float(outside.max()))
    if beyond > _BEYOND * total:
        far = f"up to {high:g}" if high > span[1] else f"down to {low:g}"
        raise ReadingProblem(
            f"it holds values {far}, outside the {span[0]:g} to {span[1]:g} inferred from other photos of the folder: "
            "give the range with --bits or --value-range"
        )


def _scaled(raw: Raw, span: Span) -> np.ndarray:
    """uint8 of the shape of `raw.values`: `span` to 0..255, what was not measured black."""
    values, (low, high) = raw.values, span
    if values.dtype == np.uint8:
        levels = values.copy()
        return 255 - levels if raw.inverted else levels
    factor = 255.0 / max(high - low, 1e-300)
    out = np.empty(values.shape, np.uint8)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        every = np.arange(65536)
        full_colour = span == (0.0, 65535.0) and values.shape[2] == 3  # by the upper byte, as Pillow reads it
        table = every // 256 if full_colour else np.rint(np.clip((every - low) * factor, 0, 255))
        np.take(table.astype(np.uint8), values, out=out)
        if raw.inverted:
            np.subtract(255, out, out=out)
        if raw.no_data is not None:
            out[values == raw.no_data] = 0
        return out
    measured = not values.size
    for block, place in zip(_blocks(values), _blocks(out), strict=True):
        wide = as_float64(block)
        lost = ~np.isfinite(wide) | _is_no_data(wide, raw.no_data)
        measured = measured or not lost.all()
        wide[lost] = low
        levels = np.rint(np.clip((wide - low) * factor, 0, 255)).astype(np.uint8)
        if raw.inverted:
            levels = 255 - levels
        levels[lost] = 0
        place[:] = levels
    if not measured:
        raise ReadingProblem("all its values are NaN, infinite or stand for nothing measured")
    return out


def as_float64(values: np.ndarray) -> np.ndarray:
    """The same values; a signalling NaN is no cause for a warning."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, _BLOCK // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        yield values[start : start + rows]


def _measured(values: np.ndarray, no_data: float | None) -> np.ndarray:
    """The values (in one dimension) that are finite and do not stand for nothing."""
    if values.dtype.kind == "u":
        return values[values != no_data] if no_data is not None else values.ravel()
    wide = as_float64(values)
    known: np.ndarray = wide[np.isfinite(wide) & ~_is_no_data(wide, no_data)]
    return known


def _is_no_data(wide: np.ndarray, no_data: float | None) -> np.ndarray:
    lost: np.ndarray = np.abs(wide) >= _HUGE
    for value in _NO_DATA:
        lost |= wide == value
    if no_data is not None:
        lost |= wide == no_data
    return lost
