"""The order in which photos are decoded, and batches of those of equal shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter

from pseudomask.extracting.photos import Photo, working_size
from pseudomask.networks.backbones.frames import frame_of

_shape = attrgetter("shape")
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
        framed: whether those of one frame come together, too.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in zip(indices, sizes, strict=True):
        groups.setdefault(working_size(size, max_side), []).append(index)
    frames: dict[tuple[int, int], list[int]] = {}
    for size, group in groups.items():
        frames.setdefault(frame_of(size) if framed else size, []).extend(group)
    return [index for group in frames.values() for index in group]


def likeness(max_side: int, *, framed: bool) -> Callable[[Photo], tuple[int, ...]]:
    """What photos that share a batch have in common: the frame at scale 1, else the shape."""
    return (lambda photo: frame_of(working_size(photo.size, max_side))) if framed else _shape


def batches(
    photos: Iterable[Photo],
    size: int,
    *,
    most_waiting: int | None = None,
    alike: Callable[[Photo], tuple[int, ...]] = _shape,
) -> Iterator[list[Photo]]:
    """Photos that are `alike` (see `likeness`), `size` at most; unreadable ones come alone, at once.

    At most `most_waiting` photos (4 × size by default) wait for company; then the largest group goes.
    """
    limit = most_waiting or 4 * size
    groups: dict[tuple[int, ...], list[Photo]] = {}
    waiting = 0
    for photo in photos:
        if photo.problem:
            yield [photo]
            continue
        shape = alike(photo)
        group = groups.setdefault(shape, [])
        group.append(photo)
        waiting += 1
        if len(group) == size or waiting >= limit:
            full = groups.pop(shape if len(group) == size else max(groups, key=lambda s: len(groups[s])))
            waiting -= len(full)
            yield full
    yield from groups.values()
