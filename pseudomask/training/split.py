"""The photos of a training, those held out, and problems of their tags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pseudomask.config import SplitOptions
from pseudomask.data.collection import Collection, align_tags, collect, need_tags, report_ignored, report_labels
from pseudomask.data.images import read_list, select
from pseudomask.data.reading import Reading
from pseudomask.data.survey import earlier_record
from pseudomask.data.teachable import Finding, examine
from pseudomask.networks.card import AFFINITY, SEGMENTER
from pseudomask.quoting import count, some
from pseudomask.running.reporter import Reporter
from pseudomask.training.holding_out import at_random, stratified
from pseudomask.training.samples import one_hot


@dataclass(frozen=True)
class Split:
    """The photos to train on and those held out; `reading`: how all are read, where that is known."""

    training: Collection
    held_out: Collection
    reading: Reading | None = None


def gather(options: SplitOptions, classes: tuple[str, ...] | None = None) -> Split:
    """Photos with tags, and the held-out ones: --val-list, else a share of each class's, drawn with the seed.

    `classes` is the class list of the initial weights, if there are any.
    """
    own = getattr(options, "run", None)
    collection = collect(options.images, options, exclude=own)
    if classes is not None:
        collection = align_tags(collection, classes)
    if options.val_list is None:
        return _drawn(options, need_tags(collection))
    # Held-out photos may lie outside --list, which names those to train on.
    everything = collect(options.images, replace(options, list=None, limit=None), exclude=own)
    everything = align_tags(everything, collection.classes)
    held_items = select(everything.items, read_list(options.val_list), source=str(options.val_list))
    held = {item.key for item in held_items}
    tags = everything.tags or {}
    return Split(
        need_tags(collection.subset([i for i in collection.items if i.key not in held])),
        everything.subset([item for item in held_items if item.key in tags]),
    )


def _drawn(options: SplitOptions, tagged: Collection) -> Split:
    """Stratified; as version 0.1.0 drew them where the training in RUN began that way."""
    run: Path | None = getattr(options, "run", None)
    begun = None if run is None or getattr(options, "overwrite", False) else earlier_record(run)
    tags = tagged.tags or {}
    for draw in (at_random, stratified):
        held = set(draw([tags[item.key] for item in tagged.items], options.val_fraction, options.seed))
        training = tagged.subset([item for i, item in enumerate(tagged.items) if i not in held])
        if begun is not None and training.images_hash == begun.images_hash:
            break
    return Split(need_tags(training), tagged.subset([tagged.items[i] for i in sorted(held)]))


def paths(collection: Collection) -> list[Path]:
    return [item.path for item in collection.items]


def tag_matrix(collection: Collection) -> np.ndarray:
    """float32 (photos, classes) of 0 and 1."""
    tags = collection.tags or {}
    rows = [one_hot(tags[item.key], len(collection.classes)) for item in collection.items]
    return np.stack(rows) if rows else np.zeros((0, len(collection.classes)), np.float32)


def describe(split: Split, reporter: Reporter) -> dict[str, Any]:
    """Report how photos and tags were understood. Returns the facts for the result."""
    training = split.training
    reporter.info(
        f"{count(len(training.items), 'photo')} to train on, {len(split.held_out.items):,} held out, "
        f"{count(len(training.classes), 'class')}, tags from {training.labels}"
    )
    report_ignored(training, reporter)
    report_labels(training, reporter, "they are not used for training")
    counts = {
        "photos": len(training.items),
        "held_out": len(split.held_out.items),
        "classes": len(training.classes),
    }
    passed_over = ", ".join(map(str, training.passed_over))
    return counts | ({"passed_over": passed_over} if passed_over else {})


def find_problems(split: Split, method: str) -> list[Finding]:
    """What the tags leave no way to learn. From masks is learned otherwise: there only rarity counts."""
    found = examine(tag_matrix(split.training), split.training.classes, tag_matrix(split.held_out))
    return [one for one in found if method not in (AFFINITY, SEGMENTER) or one.rule.rarity]


def untaught(training: Collection, lost: frozenset[int]) -> list[str]:
    """A doubt that names the classes of which no photo could be read; `lost` are the numbers of unreadable photos."""
    readable = training.subset([item for i, item in enumerate(training.items) if i not in lost])
    before, after = training.tag_counts(), readable.tag_counts()
    names = [name for name, n in before.items() if n and not after[name]]
    if not names:
        return []
    return [f"nothing was learned about {some(names, 8, 'pseudomask check lists all')}: no photo of it could be read"]
