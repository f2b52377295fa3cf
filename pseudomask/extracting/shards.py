"""The batches that the processes of a `torchrun` share: those that one process alone would make.

A photo's last bits may depend on how many others share its batch, so the processes share batches, not photos. Which
photos share one follows from their sizes, and those stand in the files' headers: each process reads some of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from pseudomask.extracting.ordering import batching, windowed
from pseudomask.extracting.photos import Photo, header_size, view_sizes
from pseudomask.running.claims import claims
from pseudomask.running.ranks import Ranks

MOST_BATCHES = 8  # claimed at once: neighbours have the same size, for which convolutions are prepared only once
_MOST_HEADERS, _THREADS = 64, 16  # each look at a network's file system takes milliseconds, in which others can look


def plan_batches(
    paths: Sequence[Path],
    indices: Sequence[int],
    size: int,
    *,
    scales: Sequence[float],
    max_side: int,
    team: Ranks,
    framed: bool = False,
) -> list[list[int]]:
    """The batches of `size` that one process would make of the photos at `indices` in `paths`, the same in all.

    A photo that has no readable header is a batch of its own; one that turns out unreadable later leaves a gap.
    """
    own = list[tuple[int, int, int]]()
    positions = claims(team, len(indices), _MOST_HEADERS)
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(islice(positions, _THREADS)):
            found = pool.map(lambda i: header_size(paths[indices[i]]), some)
            own += [(i, *size) for i, size in zip(some, found, strict=True)]
    told = team.gather(np.array(own, np.int32).tobytes())
    every = np.frombuffer(b"".join(told), np.int32).reshape(-1, 3)
    sizes = {indices[i]: (h, w) for i, h, w in every.tolist()}
    order = windowed(indices, sizes.__getitem__, max_side, framed=framed)
    headers = (_header(index, sizes[index], scales, max_side) for index in order)
    grouped = batching(max_side, framed=framed)(headers, size)
    return [[photo.index for photo in batch] for batch in grouped]


def _header(index: int, size: tuple[int, int], scales: Sequence[float], max_side: int) -> Photo:
    """A photo whose views have the right shape and no pixels."""
    if 0 in size:
        return Photo(index, size, (), problem="no readable header")
    return Photo(index, size, tuple(torch.empty(h, w, 0) for h, w in view_sizes(size, scales, max_side)))


def as_planned(photos: Iterable[Photo], planned: Sequence[Sequence[int]]) -> Iterator[list[Photo]]:
    """Photos, those of some of the batches, in the planned batches of indices; unreadable ones come alone, at once."""
    number = {index: i for i, batch in enumerate(planned) for index in batch}
    missing = [len(batch) for batch in planned]
    arrived: dict[int, list[Photo]] = {}
    for photo in photos:
        i = number[photo.index]
        missing[i] -= 1
        if photo.problem:
            yield [photo]
        else:
            arrived.setdefault(i, []).append(photo)
        if not missing[i] and i in arrived:
            yield arrived.pop(i)
