"""The verb `check`: before any training, which classes can be learned, and what is odd about the photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pseudomask.checking.result import CheckResult, Twins, by_verdict
from pseudomask.config import CheckConfig
from pseudomask.data.images import ImageItem, ImagePaths
from pseudomask.data.survey import settle
from pseudomask.data.teachable import LIMITS, examine
from pseudomask.running.machine import cores
from pseudomask.running.record import hash_file
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.training.duplicates import groups
from pseudomask.training.glancing import Looked, look
from pseudomask.training.split import Split, describe, gather, tag_matrix


def check(config: CheckConfig, reporter: Reporter | None = None) -> CheckResult:
    """Examine tags and photos as training with these settings would see them (see `CheckConfig`).

    Raises `UsageError` or `LabelError` if that training could not start; the result lists photos that cannot be read.
    """
    reporter = reporter or SilentReporter()
    split = gather(config)
    describe(split, reporter)
    training, held_out, names = tag_matrix(split.training), tag_matrix(split.held_out), split.training.classes
    findings = examine(training, names, held_out)
    held = held_out.sum(0).astype(int)
    photos = training.sum(0).astype(int) + held
    without = len(training) + len(held_out) - photos
    numbers = list(zip(photos.tolist(), without.tolist(), held.tolist(), strict=True))
    items = [*split.training.items, *split.held_out.items]
    _, reading = settle(config, items, reporter)
    threads = cores() if config.workers < 0 else config.workers
    seen = look(ImagePaths(items), reading, decode=config.decode, threads=threads, reporter=reporter)
    twins, copied = (None, list[str]()) if seen.small is None else _twins(seen, split, items)
    small = (seen.sizes.min(1) < LIMITS.tiny) & (seen.sizes.min(1) > 0)
    return CheckResult(
        images=config.images,
        labels=config.labels,
        photos=len(items),
        held_out=len(split.held_out.items),
        classes=by_verdict(findings, names, numbers),
        findings=findings,
        unreadable={items[i].relative: why for i, why in seen.problems.items()},
        tiny=[items[i].relative for i in np.flatnonzero(small)],
        twins=twins,
        copied=copied,
        max_hopeless=config.max_hopeless,
    )


def _twins(seen: Looked, split: Split, items: Sequence[ImageItem]) -> tuple[list[Twins], list[str]]:
    """Groups of duplicate photos, and the held-out photos that have a duplicate in the training set.

    Identical files within a group of near-duplicates are also listed as a group of their own: their tags must agree.
    """
    assert seen.small is not None
    readable, first_held = seen.readable, len(split.training.items)
    found, copied = list[Twins](), list[str]()
    for group in groups(seen.small[readable]):
        whole = readable[group].tolist()
        same = dict[str, list[int]]()
        for i in whole:
            same.setdefault(hash_file(items[i].path), []).append(i)
        parts = [part for part in same.values() if len(part) > 1]
        kinds = [(whole, True)] if len(same) == 1 else [(whole, False), *((part, True) for part in parts)]
        found += [_group(part, identical, split, items) for part, identical in kinds]
        if found[-len(kinds)].across_split:
            copied += [items[i].relative for i in whole if i >= first_held]
    return found, copied


def _group(members: Sequence[int], identical: bool, split: Split, items: Sequence[ImageItem]) -> Twins:
    trained = len(split.training.items)
    tags = {(split.training if i < trained else split.held_out).tag_names(items[i].key) for i in members}
    across = any(i < trained for i in members) and any(i >= trained for i in members)
    return Twins(tuple(items[i].relative for i in members), identical, across, len(tags) > 1)
