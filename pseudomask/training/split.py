"""The photos of a training: those to train on, those held out, and what their tags can teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pseudomask.config import TrainingOptions
from pseudomask.data.collection import Collection, align_tags, collect, need_tags, report_ignored, report_labels
from pseudomask.data.images import ImageItem, read_list, select
from pseudomask.data.reading import Reading
from pseudomask.data.teachable import Finding, examine
from pseudomask.networks.card import AFFINITY
from pseudomask.running.reporter import Reporter
from pseudomask.training.samples import one_hot


@dataclass(frozen=True)
class Split:
    """The photos to train on and those held out; `reading`: how all are read, where that is known."""

    training: Collection
    held_out: Collection
    reading: Reading | None = None


def gather(options: TrainingOptions, classes: tuple[str, ...] | None = None) -> Split:
    """Photos with tags, and the held-out ones: --val-list, else a share drawn with the seed.

    `classes` is the weights' list, when training goes on from weights.
    """
    collection = collect(options.images, options, exclude=options.run)
    if classes is not None:
        collection = align_tags(collection, classes)
    if options.val_list is None:
        tagged = need_tags(collection)
        held = _draw(tagged.items, options.val_fraction, options.seed)
        return Split(
            need_tags(tagged.subset([i for i in tagged.items if i.key not in held])),
            tagged.subset([i for i in tagged.items if i.key in held]),
        )
    # Held-out photos may lie outside --list, which names those to train on.
    everything = collect(options.images, replace(options, list=None, limit=None), exclude=options.run)
    everything = align_tags(everything, collection.classes)
    held_items = select(everything.items, read_list(options.val_list), source=str(options.val_list))
    held = {item.key for item in held_items}
    tags = everything.tags or {}
    return Split(
        need_tags(collection.subset([i for i in collection.items if i.key not in held])),
        everything.subset([item for item in held_items if item.key in tags]),
    )


def _draw(items: Sequence[ImageItem], fraction: float, seed: int) -> set[str]:
    count = min(round(fraction * len(items)), len(items) - 1)
    order = np.random.default_rng([seed, 0x5E1D]).permutation(len(items))
    return {items[int(i)].key for i in order[:count]}


def paths(collection: Collection) -> list[Path]:
    return [item.path for item in collection.items]


def tag_matrix(collection: Collection) -> np.ndarray:
    """float32 (photos, classes) of 0 and 1."""
    tags = collection.tags or {}
    rows = [one_hot(tags[item.key], len(collection.classes)) for item in collection.items]
    return np.stack(rows) if rows else np.zeros((0, len(collection.classes)), np.float32)


def describe(split: Split, reporter: Reporter) -> dict[str, Any]:
    """Tell what was understood, with warnings for what was not. Returns the facts for the result."""
    training = split.training
    reporter.info(
        f"{len(training.items)} photos to train on, {len(split.held_out.items)} held out, "
        f"{len(training.classes)} classes, tags from {training.labels}"
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
    """What the tags leave no way to learn. Boundaries (`affinity`) are learned from masks: only rarity counts there."""
    found = examine(tag_matrix(split.training), split.training.classes, tag_matrix(split.held_out))
    return [one for one in found if method != AFFINITY or one.kind in ("absent", "few")]


def untaught(training: Collection, lost: frozenset[int]) -> list[str]:
    """A doubt that names the classes of which no photo could be read; `lost` are the numbers of unreadable photos."""
    readable = training.subset([item for i, item in enumerate(training.items) if i not in lost])
    before, after = training.tag_counts(), readable.tag_counts()
    names = [name for name, n in before.items() if n and not after[name]]
    some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return [f"nothing was learned about {some}: none of its photos could be read"] if names else []
