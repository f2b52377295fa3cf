"""The order in which photos are decoded, and batches of those of equal shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from pseudomask.extracting.photos import Photo, working_size
from pseudomask.networks.backbones.frames import frame_of

WINDOW = 2048  # photos whose headers are read before the first of them is decoded


def windowed(
    indices: Sequence[int], size_of: Callable[[int], tuple[int, int]], max_side: int, *, framed: bool = False
) -> Iterator[int]:
    """`indices` in the order of `by_shape`, which looks at `WINDOW` of them at a time.

    Sizes of the next window are asked for one by one while this one's indices are taken: no wait at its border.
    """
    sizes = [size_of(index) for index in indices[:WINDOW]]
    for start in range(0, len(indices), WINDOW):
        ahead = iter(indices[start + WINDOW : start + 2 * WINDOW])
        coming: list[tuple[int, int]] = []
        for index in by_shape(indices[start : start + WINDOW], sizes, max_side, framed=framed):
            yield index
            coming += [size_of(one) for one in islice(ahead, 1)]
        sizes = coming


def by_shape(
    indices: Sequence[int], sizes: Iterable[tuple[int, int]], max_side: int, *, framed: bool = False
) -> list[int]:
    """`indices` with those together that the network sees at one size, in the order of each size's first.

    oneDNN prepares every convolution again for a size not seen recently, and batches fill sooner.

    Args:
        sizes: (H, W) of each index's photo; (0, 0) where it is unknown.
        framed: by their frames, small ones first, so that neighbours fit into one (`framed_batches`).
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in zip(indices, sizes, strict=True):
        groups.setdefault(working_size(size, max_side), []).append(index)
    ordered = sorted(groups, key=frame_of) if framed else groups
    return [index for size in ordered for index in groups[size]]


Batches = Callable[[Iterable[Photo], int], Iterator[list[Photo]]]


def batching(max_side: int, *, framed: bool) -> Batches:
    """What makes batches of photos in the order of `by_shape`."""
    return partial(framed_batches, max_side=max_side) if framed else batches


def framed_batches(photos: Iterable[Photo], size: int, max_side: int) -> Iterator[list[Photo]]:
    """Photos as they come, `size` at most; their own frames fill half of the batch's or more.

    Unreadable ones come alone, at once.
    """
    batch: list[Photo] = []
    for photo in photos:
        if photo.problem:
            yield [photo]
            continue
        if len(batch) == size or _wasted([*batch, photo], max_side) > 0.5:
            yield batch
            batch = []
        batch.append(photo)
    if batch:
        yield batch


def _wasted(photos: Sequence[Photo], max_side: int) -> float:
    """The share that the photos' own frames leave empty of one frame for all."""
    frames = [frame_of(working_size(photo.size, max_side)) for photo in photos]
    area = len(frames) * max(h for h, _ in frames) * max(w for _, w in frames)
    return 1 - sum(h * w for h, w in frames) / area


def batches(photos: Iterable[Photo], size: int, *, most_waiting: int | None = None) -> Iterator[list[Photo]]:
    """Photos of equal shape, `size` at most; unreadable ones come alone, at once.

    At most `most_waiting` photos (4 × size by default) wait for company; then the largest group goes.
    """
    limit = most_waiting or 4 * size
    groups: dict[tuple[int, ...], list[Photo]] = {}
    waiting = 0
    for photo in photos:
        if photo.problem:
            yield [photo]
            continue
        group = groups.setdefault(photo.shape, [])
        group.append(photo)
        waiting += 1
        if len(group) == size or waiting >= limit:
            shape = photo.shape if len(group) == size else max(groups, key=lambda s: len(groups[s]))
            full = groups.pop(shape)
            waiting -= len(full)
            yield full
    yield from groups.values()
