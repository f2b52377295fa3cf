"""OUT: what a folder of masks says of itself, and which of its masks are to be exported."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pseudomask.config import ExportConfig
from pseudomask.data.images import ImageItem, read_list, select
from pseudomask.errors import UsageError
from pseudomask.measuring.pairing import find_files
from pseudomask.running.folder_run import DONE
from pseudomask.running.inputs import changed_since
from pseudomask.running.layout import MANIFEST, RECORD, Outputs, is_below
from pseudomask.running.manifest import Entry, Manifest
from pseudomask.running.record import RunRecord

VAL = "val"


@dataclass(frozen=True)
class Piece:
    """One photo and its mask; `relative` is the photo's path below its folder, `key` the same without suffix."""

    key: str
    relative: str
    mask: Path
    photo: Path | None
    split: str


@dataclass(frozen=True)
class Source:
    """What OUT holds.

    pieces: the masks to export, in the manifest's order.
    left_out: reason by photo, for those that OUT has no mask of; unlisted: masks that its manifest does not name.
    record: the run that made them.
    changed: photos that changed since.
    """

    pieces: tuple[Piece, ...]
    classes: tuple[str, ...]
    left_out: dict[str, str]
    unlisted: int
    record: RunRecord
    changed: tuple[str, ...] = ()


def read_source(config: ExportConfig, *, with_photos: bool) -> Source:
    """Read OUT's record and manifest and choose what is asked for.

    Raises `UsageError` where OUT is not what extract or refine wrote, a list names what it does not hold, or its
    photos are not to be found.
    """
    record, entries = _read(config.out)
    images = _images(config, record) if with_photos else None
    items = [ImageItem(entry["key"], entry["image"], Path()) for entry in entries]
    if config.list is not None:
        items = select(items, read_list(config.list), source=str(config.list))
    status = {entry["key"]: entry for entry in entries}
    done = [item for item in items if status[item.key].get("status") == DONE]
    left_out = {item.relative: str(status[item.key].get("reason", "failed")) for item in items}
    for item in done:
        del left_out[item.relative]
    if not done:
        raise UsageError(f"{config.out}: its manifest has no finished masks")
    if images is not None and not any((images / item.relative).is_file() for item in done):
        raise UsageError(
            f"{images}: none of the {len(done)} photos, such as {done[0].relative}, is in it; give --images"
        )
    held = _held_out(config, done)
    pieces = tuple(
        Piece(
            key=item.key,
            relative=item.relative,
            mask=Outputs(item.key, config.out).mask,
            photo=None if images is None else images / item.relative,
            split=VAL if item.key in held else config.split_name,
        )
        for item in done
    )
    known = {entry["key"] for entry in entries}
    unlisted = sum(file.key not in known for file in find_files(config.out, ".png"))
    changed = (
        changed_since(((item.relative, status[item.key]) for item in done), images, record.config.get("images"))
        if images
        else []
    )
    return Source(pieces, tuple(record.classes), left_out, unlisted, record, tuple(changed))


def _read(folder: Path) -> tuple[RunRecord, list[Entry]]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'is a file, not a folder of masks' if folder.exists() else 'no such folder'}")
    try:
        record = RunRecord.read(folder / RECORD)
        entries = list(Manifest(folder / MANIFEST).load().values())
    except UsageError as error:
        reason = str(error).removesuffix("; use --overwrite or another output folder")
        raise UsageError(f"{reason}; run extract or refine again to rewrite it") from error
    if record is None or not record.classes or not entries:
        what = f"no {RECORD}" if record is None else f"no {MANIFEST}" if record.classes else f"no classes in {RECORD}"
        raise UsageError(f"{folder}: {what}; OUT must be an output folder of extract or refine")
    for entry in entries:
        entry.setdefault("image", entry["key"])
        if not (is_below(entry["key"]) and is_below(entry["image"])):
            raise UsageError(f"{folder / MANIFEST}: {entry['key']!r} leads out of the folder")
    return record, entries


def _images(config: ExportConfig, record: RunRecord) -> Path:
    """The folder of photos: the one given, else the one that the run read."""
    if config.images is not None:
        if not config.images.is_dir():
            raise UsageError(f"{config.images}: no such folder of photos")
        return config.images
    told = record.config.get("images")
    if not isinstance(told, str) or not Path(told).is_dir():
        raise UsageError(f"{config.out}: the photos are not in {told!r}; give their new folder with --images")
    return Path(told)


def _held_out(config: ExportConfig, items: list[ImageItem]) -> set[str]:
    """Keys of the photos for the list `val`."""
    if config.val_list is not None:
        held = {item.key for item in select(items, read_list(config.val_list), source=str(config.val_list))}
        if len(held) == len(items):
            raise UsageError(f"{config.val_list}: names all {len(items)} photos, so none is left to train on")
        return held
    # By a hash of the name: a photo more or less moves hardly any other from one list to the other.
    order = sorted(items, key=lambda item: hashlib.sha256(item.key.encode("utf-8", "surrogateescape")).digest())
    return {item.key for item in order[: min(round(config.val_fraction * len(items)), len(items) - 1)]}
