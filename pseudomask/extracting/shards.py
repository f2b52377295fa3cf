"""Which photos each process of a `torchrun` extracts: whole batches, those that one process alone would make.

A photo's last bits may depend on how many others share its batch, so the processes share batches, not photos. Which
photos share one follows from their sizes, and those stand in the files' headers: each process reads its share of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from pseudomask.extracting.photos import Photo, batches, header_size, view_sizes, windowed
from pseudomask.running.ranks import Ranks


def own_batches(
    paths: Sequence[Path], indices: Sequence[int], size: int, *, scales: Sequence[float], max_side: int, team: Ranks
) -> list[list[int]]:
    """This process's share of the batches of `size` that one process would make of the photos at `indices` in `paths`.

    A photo that has no readable header is a batch of its own; one that turns out unreadable later leaves a gap.
    """
    found = np.zeros((len(indices), 2), np.int32)
    own = [header_size(paths[index]) for index in indices[team.rank :: team.world]]
    for rank, part in enumerate(team.gather(np.array(own, np.int32).tobytes())):
        found[rank :: team.world] = np.frombuffer(part, np.int32).reshape(-1, 2)
    sizes = {index: (int(h), int(w)) for index, (h, w) in zip(indices, found, strict=True)}
    order = windowed(indices, sizes.__getitem__, max_side)
    headers = (_header(index, sizes[index], scales, max_side) for index in order)
    return [[photo.index for photo in batch] for batch in team.share(list(batches(headers, size)))]


def _header(index: int, size: tuple[int, int], scales: Sequence[float], max_side: int) -> Photo:
    """A photo whose views have the right shape and no pixels."""
    if 0 in size:
        return Photo(index, size, (), problem="no readable header")
    return Photo(index, size, tuple(torch.empty(h, w, 0) for h, w in view_sizes(size, scales, max_side)))


def as_planned(photos: Iterable[Photo], planned: Sequence[Sequence[int]]) -> Iterator[list[Photo]]:
    """Photos in the planned batches of indices; unreadable ones come alone, at once."""
    number = {index: i for i, batch in enumerate(planned) for index in batch}
    missing = [len(batch) for batch in planned]
    arrived: list[list[Photo]] = [[] for _ in planned]
    for photo in photos:
        i = number[photo.index]
        missing[i] -= 1
        if photo.problem:
            yield [photo]
        else:
            arrived[i].append(photo)
        if not missing[i] and arrived[i]:
            yield arrived[i]
            arrived[i] = []
