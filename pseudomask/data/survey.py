"""A look at a folder's photos before work starts: what their numbers and bands are taken for, said in a line each.

All photos of a folder are read alike, so that one that is darker than the others stays so. The headers of all that can
hold more than 8 bits a colour are read; the values of a few, evenly spread.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pseudomask.config.common import PhotoReadingOptions
from pseudomask.data import tiff
from pseudomask.data.decoding import MAX_PIXELS, decode, frames, image_size, read_raw
from pseudomask.data.headers import png_bits, pnm_most, precision
from pseudomask.data.images import ImageItem
from pseudomask.data.kinds import SNIFF_BYTES, sniff
from pseudomask.data.reading import BITS, Raw, Reading, as_float64, infer, limits
from pseudomask.errors import ImageError, UsageError
from pseudomask.running.record import RunRecord
from pseudomask.running.reporter import Reporter

Options = TypeVar("Options", bound=PhotoReadingOptions)

_PLAIN = (".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".heic", ".heif", ".pbm")
_MOST_HEADERS, _MOST_PHOTOS, _MOST_PIXELS = 20_000, 16, 400_000_000
_DARK = 16  # a photo whose values stay below the range by this factor is nearly black


@dataclass(frozen=True)
class Header:
    """What a photo's first bytes tell beyond its size.

    wide: values of more than 8 bits; unclear: what it is, where nothing tells which bands are colours; extra: bands
    that are no colours and no alpha; frames: more than one.
    """

    item: ImageItem
    kind: str
    wide: bool = False
    bands: int = 3
    unclear: str = ""
    extra: bool = False
    alpha: bool = False
    frames: bool = False


@dataclass(frozen=True)
class _Values:
    """The range of a photo's values; `usual`: what all but a thousandth stay below; `unsigned`: of 16 bits."""

    low: float
    high: float
    usual: float
    unsigned: bool
    is_float: bool


def settle(
    options: Options, items: Sequence[ImageItem], reporter: Reporter, *, recorded: Mapping[str, Any] | None = None
) -> tuple[Options, Reading]:
    """`options` with `bits` and `value_range` as the photos have them, and how to read these photos.

    Args:
        recorded: config of an earlier run on the same photos, whose findings count where `options` leave them open.

    Raises `UsageError` where none of the photos can be read without --bands.
    """
    if recorded is not None:
        known = Reading.recorded(recorded)
        bits = known.bits if options.bits == "auto" and known.bits else options.bits
        options = replace(options, bits=bits, value_range=options.value_range or known.span)
    headers = look_at_headers(items)
    _tell_bands(headers, options, len(items), reporter)
    _tell_alpha(headers, options, reporter)
    several = [one for one in headers if one.frames]
    if several:
        reporter.info(f"{_photos(several)} several frames or pages: the first of each is read")
    wide = [one for one in headers if one.wide]
    if not wide:
        return options, Reading.of(options)
    given = options
    options = _infer(wide, options, reporter)
    return options, Reading.of(options, guessed=options != given or recorded is not None)


def inherit(options: Options, recorded: Mapping[str, Any]) -> Options:
    """`options` with what a record's config says wherever they are at their defaults: photos are read as they were."""
    known = Reading.recorded(recorded)
    return replace(
        options,
        bits=known.bits if options.bits == "auto" and known.bits else options.bits,
        value_range=options.value_range or known.span,
        bands=options.bands or known.bands,
        alpha=known.alpha if options.alpha == "white" else options.alpha,
    )


def look_at_headers(items: Sequence[ImageItem]) -> list[Header]:
    """Headers of the photos that may be more than 8-bit RGB, by their names; of very many, evenly spread ones."""
    some = [item for item in items if not item.relative.lower().endswith(_PLAIN)]
    found = (_header(item) for item in _spread(some, _MOST_HEADERS))
    return [one for one in found if one is not None]


def _spread(some: Sequence[Any], most: int) -> list[Any]:
    n = len(some)
    return list(some) if n <= most else [some[(2 * i + 1) * n // (2 * most)] for i in range(most)]


def _header(item: ImageItem) -> Header | None:
    """None for what cannot be read: decoding will tell."""
    try:
        if not item.path.is_file():
            return None
        with item.path.open("rb") as file:
            head = file.read(SNIFF_BYTES)
            kind = sniff(head)
            if kind == "PNG" and len(head) > 25:
                wide, alpha = png_bits(head) == 16, head[25] in (4, 6)
                return Header(item, kind, wide=wide, alpha=alpha, frames=b"acTL" in head)
            if kind == "TIFF":
                return _tiff_header(item, tiff.read_directory(file))
            if kind == "PPM":
                return Header(item, kind, wide=pnm_most(head) == 65535)
            if kind == "JPEG 2000":
                return Header(item, kind, wide=precision(file) > 8)
            if kind == "WEBP" and head[12:16] == b"VP8X":
                return Header(item, kind, alpha=bool(head[20] & 16), frames=bool(head[20] & 2))
            if kind == "GIF":
                return Header(item, kind, frames=frames(item.path))
    except (OSError, ValueError, IndexError, OverflowError, struct.error, ImageError):
        pass
    return None


def _tiff_header(item: ImageItem, directory: tiff.Directory) -> Header | None:
    if directory.camera:
        return None
    if directory.ordinary:
        return Header(item, "TIFF", alpha=directory.alpha is not None, frames=directory.pages)
    assert directory.dtype is not None
    colours = directory.bands - (directory.alpha is not None)
    unclear = colours > 3 and directory.photometric != 2
    return Header(
        item,
        "TIFF",
        wide=directory.dtype != np.uint8,
        bands=directory.bands,
        unclear=directory.what() if unclear else "",
        extra=colours == 2 or colours > 3,
        alpha=directory.alpha is not None,
        frames=directory.pages,
    )


def _tell_bands(headers: Sequence[Header], options: PhotoReadingOptions, total: int, reporter: Reporter) -> None:
    if options.bands:
        return
    unclear = [one for one in headers if one.unclear]
    if unclear:
        line = (
            f"{_photos(unclear)} more bands than red, green and blue, such as {unclear[0].item.relative}, a "
            f"{unclear[0].unclear}, and nothing tells which to use: give --bands R,G,B, counted from 1"
        )
        if len(unclear) == total:
            raise UsageError(line)
        reporter.warn(line)
    extra = [one for one in headers if one.extra and not one.unclear]
    if extra:
        n = extra[0].bands
        used = "its first band is read as grey" if n == 2 else "the first three are read as red, green and blue"
        reporter.info(f"{_photos(extra)} {n} bands: {used}, the rest is ignored (--bands chooses others)")


def _tell_alpha(headers: Sequence[Header], options: PhotoReadingOptions, reporter: Reporter) -> None:
    """Transparency that hides a photo, or is none, is told; a few photos are looked at."""
    with_alpha = [one for one in headers if one.alpha]
    if options.alpha == "ignore" or not with_alpha:
        return
    reading = Reading.of(options)
    blank, thin, some = list[Header](), list[Header](), 0
    looked_at = _affordable(with_alpha, options, _MOST_PHOTOS // 2)
    for one in looked_at:
        try:
            seen = decode(one.item.path, reading=reading)
            plain = decode(one.item.path, reading=replace(reading, alpha="ignore"))
        except ImageError:
            continue
        changed = float((seen != plain).any(axis=2).mean())
        some += changed > 0
        if seen.min() == 255 and changed > 0:
            blank.append(one)
        elif one.kind == "TIFF" and changed > 0.5:
            thin.append(one)
    for found, what in ((blank, "are wholly transparent and so read as plain white"), (thin, "are mostly transparent")):
        if found:
            reporter.warn(
                f"{len(found)} of {len(looked_at)} photos with an alpha band that were looked at {what} (first: "
                f"{found[0].item.relative}); --alpha ignore takes their colours as they are"
            )
    if some and not blank and not thin:
        reporter.info(f"{_photos(with_alpha)} an alpha band: transparent pixels are laid over white (--alpha)")


def _infer(wide: Sequence[Header], options: Options, reporter: Reporter) -> Options:
    """`bits` and `value_range` from the values of some photos, where they were not given."""
    given = options  # what is found for one kind of values says nothing of the other
    found = [values for one in _affordable(wide, options, _MOST_PHOTOS) if (values := _values(one, options))]
    looked = f"in the {len(found)} looked at" if len(found) < len(wide) else ""
    for unsigned in (True, False):
        group = [one for one in found if one.unsigned is unsigned]
        if not group:
            continue
        having = _photos(wide if looked else group)
        low, high = min(one.low for one in group), max(one.high for one in group)
        span = Reading.of(given).fixed(np.dtype(np.uint16 if unsigned else np.float32))
        if span is not None:
            _tell_dark(group, span, reporter)
            continue
        span = infer(low, high, is_float=any(one.is_float for one in group))
        if unsigned:
            bits = next((bits for bits in BITS if span[1] < 2**bits), 16)
            options, span = replace(options, bits=bits), (0.0, 2.0**bits - 1)
            how = f"read as {bits} bits" + (" (--bits 16 to read them as full 16)" if bits < 16 else "")
            reporter.info(f"{having} 16-bit values, the brightest {high:g} {looked}".rstrip() + f": {how}")
        else:
            options = replace(options, value_range=span)
            what = "float" if group[0].is_float else "signed or 32-bit"
            reporter.info(
                f"{having} {what} values, {low:g} to {high:g} {looked}".rstrip()
                + f": {span[0]:g} is read as black, {span[1]:g} as white (--value-range to change it)"
            )
        _tell_dark(group, span, reporter)
    return options


def _tell_dark(group: Sequence[_Values], span: tuple[float, float], reporter: Reporter) -> None:
    dark = [one for one in group if one.usual - span[0] < (span[1] - span[0]) / _DARK]
    if dark:
        most = max(one.usual for one in dark)
        reporter.warn(
            f"{len(dark)} of {len(group)} photos looked at hardly exceed {most:g}, of a range to {span[1]:g}: they are "
            "read as nearly black; if that is wrong, give --bits or --value-range, or keep them apart"
        )


def _values(one: Header, options: PhotoReadingOptions) -> _Values | None:
    try:
        raw = read_raw(one.item.path, max_pixels=_limit(options), reading=Reading.of(options))
    except ImageError:
        return None
    found = None if raw is None else limits(raw)
    if raw is None or found is None:
        return None
    dtype = raw.values.dtype
    return _Values(*found, _usual(raw, found[1]), dtype == np.uint16, dtype.kind == "f")


def _usual(raw: Raw, high: float) -> float:
    """What all but a thousandth of the values stay below, from some of them."""
    step = max(1, int((raw.values.size / 1e6) ** 0.5))
    some = as_float64(raw.values[::step, ::step])
    some = some[np.isfinite(some) & (some <= high)]
    return float(np.quantile(some, 0.999)) if some.size else high


def _affordable(headers: Sequence[Header], options: PhotoReadingOptions, most: int) -> list[Header]:
    """At most `most`, evenly spread, and not more than so many pixels in all."""
    chosen, pixels = list[Header](), 0
    for one in _spread(headers, most):
        try:
            height, width = image_size(one.item.path, max_pixels=_limit(options))
        except ImageError:
            continue
        pixels += height * width
        if chosen and pixels > _MOST_PIXELS:
            break
        chosen.append(one)
    return chosen


def _limit(options: object) -> int:
    return int(getattr(options, "max_pixels", MAX_PIXELS))


def _photos(headers: Sequence[object]) -> str:
    return f"{len(headers)} photo{'s have' if len(headers) != 1 else ' has'}"


def recorded_config(folder: Path) -> Mapping[str, Any] | None:
    """The config in the record of an earlier run in `folder`, if there is a readable one."""
    try:
        record = RunRecord.read(folder / "run.json")
    except UsageError:
        return None
    return None if record is None else record.config
