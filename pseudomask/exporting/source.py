"""Read OUT, a folder of masks, and choose the masks to export."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pseudomask.config import ExportConfig
from pseudomask.data.images import ImageItem, read_list, select
from pseudomask.data.review import left_out as left_out_by
from pseudomask.errors import UsageError
from pseudomask.running.layout import MANIFEST, RECORD, is_below
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE
from pseudomask.running.record import RunRecord
from pseudomask.running.reporter import Reporter

VAL = "val"


@dataclass(frozen=True)
class Piece:
    """One photo and its mask; `relative` is the photo's path within its folder, `key` the same without suffix."""

    key: str
    relative: str
    mask: Path
    photo: Path | None
    split: str


@dataclass(frozen=True)
class Source:
    """The content of OUT.

    Attributes:
        pieces: the masks to export, in the manifest's order.
        left_out: reason by photo, for photos without a mask or left out by --review; `reviewed`: what the latter did;
            `unlisted`: number of masks not in the manifest.
        made, record: the folder, and the run that made it; `changed`: photos that changed since.
    """

    pieces: tuple[Piece, ...]
    classes: tuple[str, ...]
    left_out: dict[str, str]
    unlisted: int
    made: MadeFolder
    record: RunRecord
    changed: tuple[str, ...] = ()
    reviewed: str = ""


def read_source(config: ExportConfig, reporter: Reporter, *, with_photos: bool) -> Source:
    """Read OUT's record and manifest and choose the masks to export.

    Raises `UsageError` if OUT was not written by extract or refine, a list names a photo that is not in it, the
    photos cannot be found, or --review cannot be used.
    """
    made, record = _read(config.out)
    images = _images(config, made) if with_photos else None
    items = [ImageItem(key, entry["image"], Path()) for key, entry in made.entries.items()]
    everything = [item for item in items if made.entries[item.key].get("status") == DONE]
    if config.list is not None:
        items = select(items, read_list(config.list), source=str(config.list))
    done = [item for item in items if made.entries[item.key].get("status") == DONE]
    left_out = {item.relative: str(made.entries[item.key].get("reason", "failed")) for item in items}
    for item in done:
        del left_out[item.relative]
    if not done:
        raise UsageError(f"{config.out}: its manifest has no finished masks")
    if images is not None and not any((images / item.relative).is_file() for item in done):
        raise UsageError(f"{images}: contains no photo of these masks, such as {done[0].relative}; give --images")
    review = left_out_by(config, everything, reporter)
    listed, done = done, review.kept(done)
    left_out |= {item.relative: review.reasons[item.key] for item in listed if item.key in review.reasons}
    held = _held_out(config, listed, done)
    pieces = tuple(
        Piece(
            key=item.key,
            relative=item.relative,
            mask=made.outputs(item.key).mask,
            photo=None if images is None else images / item.relative,
            split=VAL if item.key in held else config.split_name,
        )
        for item in done
    )
    unlisted = sum(file.key not in made.entries for file in made.masks())
    changed = [] if images is None else made.changed(((item.key, item.relative) for item in done), images)
    return Source(pieces, tuple(record.classes), left_out, unlisted, made, record, tuple(changed), review.told)


def _read(folder: Path) -> tuple[MadeFolder, RunRecord]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'is a file, not a folder of masks' if folder.exists() else 'no such folder'}")
    made = MadeFolder(folder, "run extract or refine again to rewrite it")
    record = made.record
    if record is None or not record.classes or not made.entries:
        what = f"no {RECORD}" if record is None else f"no {MANIFEST}" if record.classes else f"no classes in {RECORD}"
        raise UsageError(f"{folder}: {what}; OUT must be an output folder of extract or refine")
    for key, entry in made.entries.items():
        if not (is_below(key) and is_below(entry.setdefault("image", key))):
            raise UsageError(f"{folder / MANIFEST}: {key!r} is a path out of the folder")
    return made, record


def _images(config: ExportConfig, made: MadeFolder) -> Path:
    """The folder of photos: --images, otherwise the recorded one."""
    if config.images is not None:
        if not config.images.is_dir():
            raise UsageError(f"{config.images}: no such folder of photos")
        return config.images
    if made.images is None or not made.images.is_dir():
        named = made.config.get("images")
        raise UsageError(f"{config.out}: the photos are not in {named!r}; give their new folder with --images")
    return made.images


def _held_out(config: ExportConfig, listed: list[ImageItem], items: list[ImageItem]) -> set[str]:
    """Keys of the photos for the list `val`; `listed` also has those that --review leaves out."""
    if config.val_list is not None:
        held = {item.key for item in select(listed, read_list(config.val_list), source=str(config.val_list))}
        if all(item.key in held for item in items):
            raise UsageError(f"{config.val_list}: names every photo, so none is left to train on")
        return held
    # By a hash of the name, so that added or removed photos move hardly any other photo to another list.
    order = sorted(items, key=lambda item: hashlib.sha256(item.key.encode("utf-8", "surrogateescape")).digest())
    return {item.key for item in order[: min(round(config.val_fraction * len(items)), len(items) - 1)]}
