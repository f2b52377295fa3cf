"""Which photos are held out: a random share of each class's photos, and of the photos without any class.

A simple form of iterative stratification (Sechidis et al., ECML 2011): the rarest classes choose first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Tags = Sequence[tuple[int, ...]]
_NOTHING = -1  # the class of photos without any


def stratified(tags: Tags, fraction: float, seed: int) -> list[int]:
    """Positions of the photos to hold out, about `fraction` of each class's; every class keeps at least one.

    A class of n photos gives `fraction` · n, rounded, until there are as many as `at_random` draws. Where there are
    fewer, because many classes are too rare to give one, some of them give one all the same.

    Args:
        tags: the positions of each photo's classes.
    """
    order = _order(len(tags), seed)
    having: dict[int, list[int]] = {}
    for photo in order:
        for name in tags[photo] or (_NOTHING,):
            having.setdefault(name, []).append(photo)
    most = {name: _share(len(photos), fraction) for name, photos in having.items()}
    held, taken = set[int](), dict.fromkeys(having, 0)

    def take(photos: Sequence[int], enough: int, limit: dict[int, int]) -> None:
        for photo in photos:
            names = tags[photo] or (_NOTHING,)
            if len(held) >= enough:
                return
            if photo not in held and all(taken[name] < limit[name] for name in names):
                held.add(photo)
                for name in names:
                    taken[name] += 1

    total = min(round(fraction * len(tags)), len(tags) - 1)
    for name in sorted(having, key=lambda name: (len(having[name]), name)):
        # Other classes in these photos must not exceed their share either.
        take(having[name], min(total, len(held) + most[name] - taken[name]), most)
    take(order, total, {name: max(most[name], min(1, len(photos) - 1)) for name, photos in having.items()})
    return sorted(held)


def at_random(tags: Tags, fraction: float, seed: int) -> list[int]:
    """The choice of version 0.1.0, which ignored the tags."""
    return sorted(_order(len(tags), seed)[: min(round(fraction * len(tags)), len(tags) - 1)])


def _order(count: int, seed: int) -> list[int]:
    found: list[int] = np.random.default_rng([seed, 0x5E1D]).permutation(count).tolist()
    return found


def _share(photos: int, fraction: float) -> int:
    return min(math.floor(fraction * photos + 0.5), photos - 1)
