"""Decide, before work starts, how a folder's values and bands become colours, and report it.

All photos of a folder are read alike, so that darker photos stay darker. The headers of all photos that can have more
than 8 bits per value are read, and the values of an evenly spread sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pseudomask.config.common import PhotoReadingOptions
from pseudomask.data.decoding import Header, decode, read_header
from pseudomask.data.images import ImageItem
from pseudomask.data.ranges import MOST_PHOTOS, Options, infer_ranges, photos_have, sample, spread
from pseudomask.data.reading import Reading
from pseudomask.errors import ImageError, UsageError
from pseudomask.quoting import count
from pseudomask.running.jsonable import jsonable
from pseudomask.running.made import MadeFolder
from pseudomask.running.ranks import ALONE, Ranks
from pseudomask.running.record import RunRecord
from pseudomask.running.reporter import Reporter

_USUAL = (".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".heic", ".heif", ".pbm")
"""Extensions of 8-bit photos; a file with more bits is refused when it is decoded."""
_MOST_HEADERS = 20_000


@dataclass(frozen=True)
class _Photo:
    item: ImageItem
    header: Header


def settle(
    options: Options,
    items: Sequence[ImageItem],
    reporter: Reporter,
    *,
    recorded: Mapping[str, Any] | None = None,
    team: Ranks = ALONE,
) -> tuple[Options, Reading]:
    """`options` with `bits` and `value_range` inferred from the photos, and how to read these photos.

    Args:
        recorded: config of an earlier run on the same photos, whose inferred values are reused.
        team: processes that all settle; only the first one reads photos.

    Raises `UsageError` if no photo can be read without --bands.
    """
    given = options.bits != "auto" or options.value_range is not None
    if recorded is not None:
        options = _with_ranges(options, Reading.recorded(recorded))

    def look() -> tuple[Any, Any]:
        found = _look(options, items, reporter)
        return found.bits, jsonable(found.value_range)

    bits, span = team.by_first(look)
    options = replace(options, bits=bits, value_range=None if span is None else tuple(span))
    return options, Reading.of(options, guessed=not given)


def _look(options: Options, items: Sequence[ImageItem], reporter: Reporter) -> Options:
    photos = _read_headers(items)
    _report_bands(photos, options, len(items), reporter)
    _report_alpha(photos, options, reporter)
    if several := sum(one.header.frames for one in photos):
        reporter.info(f"{photos_have(several)} several frames or pages: only the first is read")
    return infer_ranges([one.item.path for one in photos if one.header.wide], options, reporter)


def _with_ranges(options: Options, known: Reading) -> Options:
    bits = known.bits if options.bits == "auto" and known.bits else options.bits
    return replace(options, bits=bits, value_range=options.value_range or known.span)


def inherit(options: Options, recorded: Mapping[str, Any]) -> Options:
    """`options` with the values in the seeds' record, so that photos are read as they were for the seeds.

    Raises `UsageError` if `options` contradict the record.
    """
    known = Reading.recorded(recorded)
    usual = PhotoReadingOptions()
    before = replace(_with_ranges(usual, known), bands=known.bands, alpha=known.alpha)
    for name in ("bits", "value_range", "bands", "alpha"):
        asked, was = getattr(options, name), getattr(before, name)
        if name in recorded and asked not in (getattr(usual, name), was):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} {_shown(asked)}, but the seeds were made with {_shown(was)}, and photos must be read alike: "
                f"leave {flag} out, or extract again with it"
            )
    chosen = {name: getattr(before, name) for name in ("bits", "value_range", "bands", "alpha") if name in recorded}
    return replace(options, **chosen)


def _shown(value: Any) -> str:
    if value in (None, ()):
        return "none"
    return ",".join(f"{one:g}" for one in value) if isinstance(value, tuple) else str(value)


def not_decided(recorded: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a record without photos of more than 8 bits, so that any range is compatible with it."""
    fresh = {"bits": "auto", "value_range": None}
    if recorded is None or any(recorded.get(name, "absent") != value for name, value in fresh.items()):
        return {}
    return {f"config.{name}": value for name, value in fresh.items()}


def _read_headers(items: Sequence[ImageItem]) -> list[_Photo]:
    """The headers of photos that may be more than 8-bit RGB, by their names; of a sample if there are very many."""
    photos = list[_Photo]()
    for item in spread([item for item in items if not item.relative.lower().endswith(_USUAL)], _MOST_HEADERS):
        with suppress(ImageError):  # reported when it is decoded
            photos.append(_Photo(item, read_header(item.path)))
    return photos


def _report_bands(photos: Sequence[_Photo], options: PhotoReadingOptions, total: int, reporter: Reporter) -> None:
    if options.bands:
        return
    unclear = [one for one in photos if one.header.unexplained]
    if unclear:
        line = (
            f"{photos_have(len(unclear))} more bands than red, green and blue, such as {unclear[0].item.relative}, a "
            f"{unclear[0].header.unexplained}, and it is unclear which to use: give --bands R,G,B, counted from 1"
        )
        if len(unclear) == total:
            raise UsageError(line)
        reporter.warn(line)
    extra = [one for one in photos if one.header.bands and not one.header.unexplained]
    if extra:
        n = extra[0].header.bands
        used = "the first band is read as grey" if n == 2 else "the first three are read as red, green and blue"
        reporter.info(f"{photos_have(len(extra))} {n} bands: {used}, the rest is ignored (--bands chooses others)")


def _report_alpha(photos: Sequence[_Photo], options: PhotoReadingOptions, reporter: Reporter) -> None:
    """Report transparency that hides a photo, and alpha bands that are not transparency, from a sample."""
    with_alpha = {one.item.path: one for one in photos if one.header.alpha}
    if options.alpha == "ignore" or not with_alpha:
        return
    reading = Reading.of(options)
    blank, thin, some, n = list[_Photo](), list[_Photo](), False, 0
    for path in sample(list(with_alpha), MOST_PHOTOS // 2, options):
        n += 1
        try:
            laid, bare = (decode(path, reading=replace(reading, alpha=how)) for how in ("white", "ignore"))
        except ImageError:
            continue
        changed = float((laid != bare).any(axis=2).mean())
        some = some or changed > 0
        if laid.min() == 255 and changed > 0:
            blank.append(with_alpha[path])
        elif with_alpha[path].header.kind == "TIFF" and changed > 0.5:
            thin.append(with_alpha[path])
    for found, what in ((blank, "fully transparent, and so read as plain white"), (thin, "mostly transparent")):
        if found:
            reporter.warn(
                f"{len(found)} of {count(n, 'sampled photo')} with an alpha band {'is' if len(found) == 1 else 'are'} "
                f"{what} (first: {found[0].item.relative}); --alpha ignore ignores the transparency"
            )
    if some and not blank and not thin:
        reporter.info(f"{photos_have(len(with_alpha))} an alpha band: transparent pixels become white (--alpha)")


def earlier_record(folder: Path) -> RunRecord | None:
    """The record of an earlier run in `folder`, if there is a readable one."""
    try:
        return MadeFolder(folder).record
    except UsageError:
        return None


def recorded_config(folder: Path) -> Mapping[str, Any] | None:
    """The config in the record of an earlier run in `folder`, if it can be read."""
    record = earlier_record(folder)
    return None if record is None else record.config
