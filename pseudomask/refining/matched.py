"""The photos and seeds of processes that work together: one looks at the folders, the others are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pseudomask.config import RefineConfig
from pseudomask.config.common import SeedOptions
from pseudomask.data.images import ImageItem, PassedOver
from pseudomask.data.reading import Reading
from pseudomask.refining.seeds import SeededPhotos, Seeds, match_photos, tags_of
from pseudomask.refining.work import Job
from pseudomask.running.layout import Outputs
from pseudomask.running.ranks import Ranks


def match_once(config: SeedOptions, seeds: Seeds, team: Ranks, *, exclude: Path | None = None) -> SeededPhotos:
    """`match_photos` for processes that all need the same: the first one looks at the folders and tells the others."""
    own: list[SeededPhotos] = []

    def look() -> list[Any]:
        own.append(found := match_photos(config, seeds, exclude=exclude))
        if team.alone:
            return []
        both = [[(item.key, item.relative) for item in items] for items in (found.items, found.photos.values())]
        return [*both, sorted(found.orphans), found.without_seeds, [astuple(one) for one in found.passed_over]]

    told = team.by_first(look)
    if own:
        return own[0]
    items, photos = ([ImageItem(key, name, config.images) for key, name in pairs] for pairs in told[:2])
    passed_over = tuple(PassedOver(*one) for one in told[4])
    return SeededPhotos(
        tuple(items), frozenset(told[2]), tuple(told[3]), {item.key: item for item in photos}, passed_over
    )


def jobs_of(
    config: RefineConfig, seeded: SeededPhotos, outputs: Sequence[Outputs], seeds: Seeds, reading: Reading
) -> list[Job]:
    """The work on each photo; an orphan has none."""
    tests = seeds.tests(config.images, hashed=config.hash_photos)
    return [
        Job(
            outputs=out,
            relative=item.relative,
            images=None if item.key in seeded.orphans else config.images,
            seeds=seeds.path,
            tags=tags_of(seeds.entries.get(item.key)),
            reading=reading,
            unchanged=tests.get(item.key),
        )
        for item, out in zip(seeded.items, outputs, strict=True)
    ]
