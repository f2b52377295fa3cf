"""MASKS, what a segmentation network is trained on: photos matched with their masks, all looked at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pseudomask.config import TrainSegConfig
from pseudomask.data.collection import Collection
from pseudomask.data.decoding import image_size
from pseudomask.data.images import ImageItem, PassedOver, look_through, read_list, select
from pseudomask.data.labels import read_classes
from pseudomask.data.review import left_out
from pseudomask.devices import pick_workers
from pseudomask.errors import ImageError, LabelError, UsageError
from pseudomask.masks import ignore_index, load_mask
from pseudomask.measuring.counting import in_order
from pseudomask.quoting import count
from pseudomask.running.holder import report_filling
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE
from pseudomask.running.record import hash_lines
from pseudomask.running.reporter import Reporter
from pseudomask.training.holding_out import stratified
from pseudomask.training.split import Split

CLASSES = "classes.txt"
VOC, MMSEG = Path("VOCdevkit", "VOC2012"), "img_dir"


@dataclass(frozen=True)
class Layout:
    """Where photos and masks are; `train` and `val` are lists of names, if the folder has them.

    `made` is the folder if extract, refine or predict made it.
    """

    images: Path
    masks: Path
    classes: tuple[str, ...]
    made: MadeFolder | None = None
    train: Path | None = None
    val: Path | None = None

    def mask(self, key: str) -> Path:
        return self.masks / f"{key}.png"


@dataclass(frozen=True)
class Masked:
    """The photos that have a usable mask.

    Attributes:
        split: photos to train on and held out; their tags are the classes in their masks.
        hash: of the masks' contents, and which photos they belong to.
        reviewed: what --review left out, in words; empty without it.
    """

    layout: Layout
    split: Split
    hash: str
    reviewed: str = ""

    def masks(self, items: Sequence[ImageItem]) -> list[Path]:
        return [self.layout.mask(item.key) for item in items]


def read_masked(config: TrainSegConfig, reporter: Reporter) -> Masked:
    """Find photos and masks, and look at all masks.

    Raises `UsageError` if photos or classes are not known, no photo has a mask, or a mask holds other classes.
    """
    layout = find_layout(config)
    if layout.made is not None:
        report_filling(layout.masks, reporter)
    seen = look_through(layout.images, exclude=config.run)
    items = _with_masks(layout, seen.items, seen.passed_over, reporter)
    everything, names = items, config.list or layout.train
    if names is not None:
        items = select(items, read_list(names), source=str(names))
    review = left_out(config, everything, reporter)
    items = review.kept(items[: config.limit])
    held = _held_out(config, layout, everything)
    if held is not None:
        held = [item for item in held if item.key not in review.reasons]
    looked = _look(layout, [*items, *(one for one in held or () if one not in set(items))], config, reporter)
    tags = {key: one.tags for key, one in looked.items()}
    items = [item for item in items if item.key in tags]
    if held is None:
        drawn = set(stratified([tags[item.key] for item in items], config.val_fraction, config.seed))
        held = [item for i, item in enumerate(items) if i in drawn]
    chosen = {item.key for item in held}
    whole = Collection(tuple(items), layout.classes, tags, labels=str(config.masks), passed_over=seen.passed_over)
    training = whole.subset([item for item in items if item.key not in chosen])
    if not training.items:
        raise UsageError(f"{config.masks}: no photo is left to train on; give a smaller --val-fraction or --val-list")
    split = Split(training, whole.subset([item for item in held if item.key in tags]))
    return Masked(layout, split, hash_lines(f"{key} {one.digest}" for key, one in sorted(looked.items())), review.told)


def find_layout(config: TrainSegConfig) -> Layout:
    """What kind of folder MASKS is. Raises `UsageError` where photos or classes have to be named."""
    folder = config.masks
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'is a file, not a folder of masks' if folder.exists() else 'no such folder'}")
    given = None if config.class_file is None else read_classes(config.class_file)
    made = MadeFolder(folder, "run the command that made it again to rewrite it")
    if made.holds_run():
        record = made.record
        classes = () if record is None else tuple(record.classes)
        if given is not None and given != classes:
            raise LabelError(
                f"not the classes of {folder}, which are {', '.join(classes)}; leave it out", config.class_file
            )
        return _known(config, Layout(made.images or Path(), folder, classes, made))
    if given is None and (folder / CLASSES).is_file():
        given = read_classes(folder / CLASSES)
    if (folder / VOC).is_dir():
        root, lists = folder / VOC, folder / VOC / "ImageSets" / "Segmentation"
        train, val = (path if path.is_file() else None for path in (lists / "train.txt", lists / "val.txt"))
        layout = Layout(root / "JPEGImages", root / "SegmentationClass", given or (), train=train, val=val)
    elif (folder / MMSEG).is_dir() and (folder / "ann_dir").is_dir():
        layout = Layout(folder / MMSEG, folder / "ann_dir", given or ())
    else:
        layout = Layout(Path(), folder, given or ())
    return _known(config, layout)


def _known(config: TrainSegConfig, layout: Layout) -> Layout:
    if config.images is not None:
        layout = replace(layout, images=config.images)
    if not layout.classes:
        raise UsageError(f"{config.masks}: neither run.json nor {CLASSES} names its classes; give --class-file")
    if layout.images == Path() or not layout.images.is_dir():
        where = "it does not say where its photos are" if layout.images == Path() else f"no photos in {layout.images}"
        raise UsageError(f"{config.masks}: {where}; give their folder with --images")
    return layout


def _with_masks(
    layout: Layout, photos: Sequence[ImageItem], passed_over: Sequence[PassedOver], reporter: Reporter
) -> list[ImageItem]:
    """The photos that have a mask; of a made folder those that its manifest calls done."""
    made, keys = layout.made, {photo.key for photo in photos}
    if made is None:
        found = [photo for photo in photos if layout.mask(photo.key).is_file()]
        lost: list[str] = []
    else:
        done = {key for key, entry in made.entries.items() if entry.get("status") == DONE}
        found = [photo for photo in photos if photo.key in done and layout.mask(photo.key).is_file()]
        lost = sorted(done - keys)
    if not found:
        raise UsageError(
            f"{layout.masks}: none of {count(len(photos), 'photo')} in {layout.images}, such as {photos[0].relative}, "
            "has a mask of its name there; give the masks' photos with --images"
        )
    if lost:
        reporter.warn(f"{count(len(lost), 'mask')} have no photo in {layout.images} (first: {lost[0]})")
    if made is not None:
        changed = made.changed([(item.key, item.relative) for item in found], layout.images)
        if changed:
            reporter.warn(f"{count(len(changed), 'photo')} changed since the masks were made (first: {changed[0]})")
    return found


def _held_out(config: TrainSegConfig, layout: Layout, items: Sequence[ImageItem]) -> list[ImageItem] | None:
    """The photos that a list, or the layout, holds out; None if they are to be drawn."""
    names = config.val_list or (layout.val if config.list is None else None)
    if names is not None:
        return select(items, read_list(names), source=str(names))
    if layout.images.name == MMSEG and layout.made is None:
        return [item for item in items if item.relative.startswith("val/")] or None
    return None


@dataclass(frozen=True)
class _Looked:
    tags: tuple[int, ...] = ()
    digest: str = ""
    problem: str = ""
    foreign: int | None = None


def _look(layout: Layout, items: Sequence[ImageItem], config: TrainSegConfig, reporter: Reporter) -> dict[str, _Looked]:
    """By key, the masks that can be used; the others are reported."""
    usable: dict[str, _Looked] = {}
    problems: list[str] = []
    look = partial(_look_at, layout, len(layout.classes))
    with reporter.progress(len(items), "looking at masks") as progress:
        for item, one in zip(items, in_order(look, items, pick_workers(config.workers)), strict=True):
            if one.foreign is not None:
                raise UsageError(
                    f"{layout.mask(item.key)}: holds class {one.foreign}, but there are only {len(layout.classes)} "
                    f"({', '.join(layout.classes[:8])}{', …' if len(layout.classes) > 8 else ''}); give the masks' own "
                    "class list with --class-file"
                )
            if one.problem:
                problems.append(f"{item.relative}: {one.problem}")
            else:
                usable[item.key] = one
            progress.advance()
    if problems:
        told = f"{len(problems)} of {count(len(items), 'mask')} cannot be used; the first, {problems[0]}"
        if not usable:
            raise UsageError(told)
        reporter.warn(told)
    return usable


def _look_at(layout: Layout, classes: int, item: ImageItem) -> _Looked:
    path = layout.mask(item.key)
    try:
        mask = load_mask(path)
        size = image_size(item.path)
    except ImageError as error:
        return _Looked(problem=error.reason)
    except UsageError as error:
        return _Looked(problem=str(error))
    if mask.shape != size:
        return _Looked(problem=f"its mask has {mask.shape[1]}x{mask.shape[0]} pixels, the photo {size[1]}x{size[0]}")
    values = np.flatnonzero(np.bincount(mask.ravel()))
    known = [int(value) for value in values if value != ignore_index(classes)]
    if known and known[-1] > classes:
        return _Looked(foreign=known[-1])
    digest = hashlib.sha256(mask.tobytes()).hexdigest()
    return _Looked(tuple(value - 1 for value in known if value), digest)
