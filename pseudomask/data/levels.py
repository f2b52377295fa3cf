"""Convert the values in a photo's file to levels of 0 to 255."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pseudomask.data.reading import BITS, Reading, ReadingProblem, Span

_NO_DATA = (-9999.0, -99999.0, -32768.0, -2147483648.0)  # written by GIS and scanner software for "nothing measured"
_HUGE = 1e30
_BEYOND = 0.001  # share of a photo's values that may lie outside a range that was inferred from other photos
_BLOCK = 1 << 22  # values scaled at once: the temporaries are float64


@dataclass(frozen=True)
class Raw:
    """A photo as stored in its file.

    Attributes:
        values: (H, W, n) of the bands that are read, in their order.
        alpha: uint8 or wider (H, W), or None; `premultiplied`: colours were multiplied by it.
        inverted: the largest value is black.
        no_data: the value that the file declares to mean "not measured".
        span: the values that the file declares to be black and white.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None
    premultiplied: bool = False
    inverted: bool = False
    no_data: float | None = None
    span: Span | None = None


def infer(low: float, high: float, *, is_float: bool) -> Span:
    """The range that values between `low` and `high` were probably meant for."""
    if low >= 0 and is_float and high <= 1:
        return (0.0, 1.0)
    if low >= 0 and high > 0:
        for bits in BITS:
            if high < 2**bits:
                return (0.0, 2.0**bits - 1)
    return (low, high) if high > low else (0.0, 65535.0) if 0 <= low <= 65535 else (low - 1, low + 1)


def limits(raw: Raw) -> Span | None:
    """The smallest and the largest measured value; None if there is none."""
    low, high = np.inf, -np.inf
    for block in _blocks(raw.values):
        known = _measured(block, raw.no_data)
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    return (low, high) if low <= high else None


def render(raw: Raw, reading: Reading) -> np.ndarray:
    """uint8 (H, W, 3): the values scaled, transparent pixels blended with white unless `reading.alpha` says otherwise.

    Raises `ReadingProblem` if its values are outside the range inferred from other photos of the folder.
    """
    dtype, span = raw.values.dtype, raw.span or reading.fixed(raw.values.dtype)
    if reading.guessed and raw.span is None and dtype != np.uint8:
        _check(raw, span)
    if span is None:
        span = infer(*(limits(raw) or (0.0, 0.0)), is_float=dtype.kind == "f")
    levels = _scaled(raw, span)
    if levels.shape[2] == 1:
        levels = np.repeat(levels, 3, axis=2)
    if raw.alpha is None or reading.alpha == "ignore":
        return levels
    return over_white(levels, _alpha_levels(raw.alpha, span), premultiplied=raw.premultiplied)


def over_white(levels: np.ndarray, alpha: np.ndarray, *, premultiplied: bool = False) -> np.ndarray:
    """Colours (H, W, 3) with alpha (H, W), both uint8, on a white background: uint8 (H, W, 3)."""
    layer = Image.fromarray(np.dstack([levels, alpha]))
    if premultiplied:
        layer = Image.frombytes("RGBa", layer.size, layer.tobytes()).convert("RGBA")
    sheet = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    sheet.alpha_composite(layer)
    return np.array(sheet.convert("RGB"))


def _alpha_levels(alpha: np.ndarray, span: Span) -> np.ndarray:
    """Full opacity is the type's largest value, or that of the colours if no pixel exceeds it."""
    if alpha.dtype == np.uint8:
        return alpha
    most = float(alpha.max(initial=0))
    top = 1.0 if alpha.dtype.kind == "f" and most <= 1 else span[1]
    if most > top:
        top = float(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "ui" else most
    return _scaled(Raw(alpha[:, :, None]), (0.0, top))[:, :, 0]


def _check(raw: Raw, span: Span | None) -> None:
    """Raise `ReadingProblem` unless the range inferred from other photos covers nearly all values."""
    if span is None:
        raise ReadingProblem(
            f"{raw.values.dtype.name} values, unlike the folder's other photos (and this one's name): give --bits or "
            "--value-range, or correct the file's extension (.png, .tif)"
        )
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
            f"it has values {far}, outside the {span[0]:g} to {span[1]:g} inferred from other photos of the folder: "
            "give the range with --bits or --value-range"
        )


def _scaled(raw: Raw, span: Span) -> np.ndarray:
    """uint8 with the shape of `raw.values`: `span` scaled to 0..255; values that were not measured are black."""
    values, (low, high) = raw.values, span
    if values.dtype == np.uint8:
        return 255 - values if raw.inverted else values
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
        raise ReadingProblem("all its values are NaN, infinite or marked as not measured")
    return out


def as_float64(values: np.ndarray) -> np.ndarray:
    """The same values, without a warning about signalling NaN."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, _BLOCK // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        yield values[start : start + rows]


def _measured(values: np.ndarray, no_data: float | None) -> np.ndarray:
    """The finite values, in one dimension, without those that mean "not measured"."""
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
