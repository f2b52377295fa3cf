"""A look at a folder's photos before work starts: what their numbers and bands are taken for, said in a line each.

All photos of a folder are read alike, so that one that is darker than the others stays so. The headers of all that can
hold more than 8 bits a colour are read; the values of a few, evenly spread.
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
from pseudomask.data.ranges import MOST_PHOTOS, Options, affordable, infer_ranges, spread
from pseudomask.data.reading import Reading
from pseudomask.errors import ImageError, UsageError
from pseudomask.running.made import MadeFolder
from pseudomask.running.record import RunRecord
from pseudomask.running.reporter import Reporter

_USUAL = (".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".heic", ".heif", ".pbm")
"""Names of photos that have 8 bits; one that has more all the same is refused when it is decoded."""
_MOST_HEADERS = 20_000


@dataclass(frozen=True)
class _Seen:
    item: ImageItem
    header: Header


def settle(
    options: Options, items: Sequence[ImageItem], reporter: Reporter, *, recorded: Mapping[str, Any] | None = None
) -> tuple[Options, Reading]:
    """`options` with `bits` and `value_range` as the photos have them, and how to read these photos.

    Args:
        recorded: config of an earlier run on the same photos, whose findings count where `options` leave them open.

    Raises `UsageError` where none of the photos can be read without --bands.
    """
    given = options.bits != "auto" or options.value_range is not None
    if recorded is not None:
        options = _with_ranges(options, Reading.recorded(recorded))
    seen = _look_at_headers(items)
    _tell_bands(seen, options, len(items), reporter)
    _tell_alpha(seen, options, reporter)
    several = [one for one in seen if one.header.frames]
    if several:
        reporter.info(f"{_photos(several)} several frames or pages: the first of each is read")
    options = infer_ranges([one.item.path for one in seen if one.header.wide], options, reporter)
    return options, Reading.of(options, guessed=not given)


def _with_ranges(options: Options, known: Reading) -> Options:
    bits = known.bits if options.bits == "auto" and known.bits else options.bits
    return replace(options, bits=bits, value_range=options.value_range or known.span)


def inherit(options: Options, recorded: Mapping[str, Any]) -> Options:
    """`options` with what the seeds' record says: photos are read as they were when the seeds were made.

    Raises `UsageError` where `options` say otherwise than the record does.
    """
    known = Reading.recorded(recorded)
    usual = PhotoReadingOptions()
    before = replace(_with_ranges(usual, known), bands=known.bands, alpha=known.alpha)
    for name in ("bits", "value_range", "bands", "alpha"):
        asked, was = getattr(options, name), getattr(before, name)
        if name in recorded and asked not in (getattr(usual, name), was):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} {_shown(asked)}, but the seeds were made with {_shown(was)}, and photos are read as they were "
                f"then: leave {flag} out, or extract again with it"
            )
    chosen = {name: getattr(before, name) for name in ("bits", "value_range", "bands", "alpha") if name in recorded}
    return replace(options, **chosen)


def _shown(value: Any) -> str:
    if value in (None, ()):
        return "none"
    return ",".join(f"{one:g}" for one in value) if isinstance(value, tuple) else str(value)


def not_decided(recorded: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the record of a run says, by field, that had no photo of more than 8 bits: any range suits it, too."""
    fresh = {"bits": "auto", "value_range": None}
    if recorded is None or any(recorded.get(name, "absent") != value for name, value in fresh.items()):
        return {}
    return {f"config.{name}": value for name, value in fresh.items()}


def _look_at_headers(items: Sequence[ImageItem]) -> list[_Seen]:
    """Of the photos that may be more than 8-bit RGB, by their names; of very many, evenly spread ones."""
    seen = list[_Seen]()
    for item in spread([item for item in items if not item.relative.lower().endswith(_USUAL)], _MOST_HEADERS):
        with suppress(ImageError):  # decoding will tell
            seen.append(_Seen(item, read_header(item.path)))
    return seen


def _tell_bands(seen: Sequence[_Seen], options: PhotoReadingOptions, total: int, reporter: Reporter) -> None:
    if options.bands:
        return
    unclear = [one for one in seen if one.header.unexplained]
    if unclear:
        line = (
            f"{_photos(unclear)} more bands than red, green and blue, such as {unclear[0].item.relative}, a "
            f"{unclear[0].header.unexplained}, and nothing tells which to use: give --bands R,G,B, counted from 1"
        )
        if len(unclear) == total:
            raise UsageError(line)
        reporter.warn(line)
    extra = [one for one in seen if one.header.bands and not one.header.unexplained]
    if extra:
        n = extra[0].header.bands
        used = "its first band is read as grey" if n == 2 else "the first three are read as red, green and blue"
        reporter.info(f"{_photos(extra)} {n} bands: {used}, the rest is ignored (--bands chooses others)")


def _tell_alpha(seen: Sequence[_Seen], options: PhotoReadingOptions, reporter: Reporter) -> None:
    """Transparency that hides a photo, or is none, is told; a few photos are looked at."""
    with_alpha = {one.item.path: one for one in seen if one.header.alpha}
    if options.alpha == "ignore" or not with_alpha:
        return
    reading = Reading.of(options)
    blank, thin, some, n = list[_Seen](), list[_Seen](), False, 0
    for path in affordable(list(with_alpha), MOST_PHOTOS // 2, options):
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
    for found, what in ((blank, "are wholly transparent and so read as plain white"), (thin, "are mostly transparent")):
        if found:
            reporter.warn(
                f"{len(found)} of {n} photos with an alpha band that were looked at {what} (first: "
                f"{found[0].item.relative}); --alpha ignore takes their colours as they are"
            )
    if some and not blank and not thin:
        about = _photos(list(with_alpha.values()))
        reporter.info(f"{about} an alpha band: transparent pixels are laid over white (--alpha)")


def _photos(seen: Sequence[_Seen]) -> str:
    return f"{len(seen)} photo{'s have' if len(seen) != 1 else ' has'}"


def earlier_record(folder: Path) -> RunRecord | None:
    """The record of an earlier run in `folder`, if there is a readable one."""
    try:
        return MadeFolder(folder).record
    except UsageError:
        return None


def recorded_config(folder: Path) -> Mapping[str, Any] | None:
    """Its config."""
    record = earlier_record(folder)
    return None if record is None else record.config
