"""Infer the range of values in a folder's photos of more than 8 bits from a sample, and report it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pseudomask.config.common import PhotoReadingOptions
from pseudomask.data.decoding import MAX_PIXELS, image_size, read_raw
from pseudomask.data.levels import Raw, as_float64, infer, limits
from pseudomask.data.reading import BITS, Reading, Span
from pseudomask.errors import ImageError
from pseudomask.quoting import count
from pseudomask.running.reporter import Reporter

Options = TypeVar("Options", bound=PhotoReadingOptions)

MOST_PHOTOS = 16
_MOST_PIXELS = 400_000_000
_DARK = 16  # a photo whose values stay below the range by this factor is nearly black


@dataclass(frozen=True)
class _Values:
    """The range of a photo's values; `usual`: their 99.9th percentile."""

    low: float
    high: float
    usual: float
    dtype: np.dtype[Any]


def infer_ranges(paths: Sequence[Path], options: Options, reporter: Reporter) -> Options:
    """`options` with `bits` and `value_range` set if these photos, of more than 8 bits, need them."""
    given = Reading.of(options)
    found = [values for path in sample(paths, MOST_PHOTOS, options) if (values := _measure(path, given, options))]
    sampled = f" in a sample of {len(found)}" if len(found) < len(paths) else ""
    for unsigned in (True, False):
        group = [one for one in found if (one.dtype == np.uint16) is unsigned]
        if not group:
            continue
        span = given.fixed(group[0].dtype)
        about = photos_have(len(paths) if sampled else len(group))
        if span is None:
            low, high = min(one.low for one in group), max(one.high for one in group)
            span = infer(low, high, is_float=any(one.dtype.kind == "f" for one in group))
            if unsigned:
                bits = next((bits for bits in BITS if span[1] < 2**bits), 16)
                options, span = replace(options, bits=bits), (0.0, 2.0**bits - 1)
                how = f"read as {bits} bits" + (" (--bits 16 to read them as full 16)" if bits < 16 else "")
                reporter.info(f"{about} 16-bit values, the brightest {high:g}{sampled}: {how}")
            else:
                options = replace(options, value_range=span)
                what = "float" if group[0].dtype.kind == "f" else "signed or 32-bit"
                how = f"{span[0]:g} is read as black, {span[1]:g} as white (--value-range to change it)"
                reporter.info(f"{about} {what} values, {low:g} to {high:g}{sampled}: {how}")
        _warn_about_dark(group, span, reporter)
    return options


def photos_have(n: int) -> str:
    return f"{count(n, 'photo')} {'has' if n == 1 else 'have'}"


def _warn_about_dark(group: Sequence[_Values], span: Span, reporter: Reporter) -> None:
    dark = [one.usual for one in group if one.usual - span[0] < (span[1] - span[0]) / _DARK]
    if dark:
        reporter.warn(
            f"{len(dark)} of {count(len(group), 'sampled photo')} hardly exceed {max(dark):g} in a range up to "
            f"{span[1]:g} and are read as nearly black; if that is wrong, give --bits or --value-range, or put them in "
            "another folder"
        )


def _measure(path: Path, reading: Reading, options: PhotoReadingOptions) -> _Values | None:
    try:
        raw = read_raw(path, max_pixels=_limit(options), reading=reading)
    except ImageError:
        return None
    found = None if raw is None else limits(raw)
    if raw is None or found is None:
        return None
    return _Values(*found, _usual(raw, found[1]), raw.values.dtype)


def _usual(raw: Raw, high: float) -> float:
    """The 99.9th percentile of the values, from a sample."""
    step = max(1, int((raw.values.size / 1e6) ** 0.5))
    some = as_float64(raw.values[::step, ::step])
    some = some[np.isfinite(some) & (some <= high)]
    return float(np.quantile(some, 0.999)) if some.size else high


def sample(paths: Sequence[Path], most: int, options: PhotoReadingOptions) -> Iterator[Path]:
    """At most `most` readable photos, evenly spread, with a limited total number of pixels."""
    pixels = 0
    for path in spread(paths, most):
        try:
            height, width = image_size(path, max_pixels=_limit(options))
        except ImageError:
            continue
        if pixels and pixels + height * width > _MOST_PIXELS:
            return
        pixels += height * width
        yield path


_One = TypeVar("_One")


def spread(some: Sequence[_One], most: int) -> Sequence[_One]:
    """At most `most` items, evenly spread."""
    n = len(some)
    return some if n <= most else [some[(2 * i + 1) * n // (2 * most)] for i in range(most)]


def _limit(options: object) -> int:
    return int(getattr(options, "max_pixels", MAX_PIXELS))
