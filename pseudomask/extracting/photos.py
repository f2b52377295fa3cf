"""Photos decoded and resized by worker processes, then gathered into batches of equal shape."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from ctypes import c_bool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pseudomask.data.decoding import decode, image_size
from pseudomask.data.pixels import resize, with_long_side
from pseudomask.data.reading import AS_IT_COMES, Reading
from pseudomask.errors import ImageError, PseudomaskError
from pseudomask.running.helpers import COULD_NOT_START, lower_priority, starting
from pseudomask.running.identity import TOUCHED, Identity, identify
from pseudomask.scores import MAX_SIDE


@dataclass(frozen=True)
class Photo:
    """One photo, ready for the network.

    Attributes:
        index: its position in the run's list.
        size: (H, W) of the upright photo.
        views: uint8 (h_s, w_s, 3) at each scale; empty where `problem` says what went wrong.
        whole: uint8 (H, W, 3), only when an overlay is wanted.
        file: what the photo's file was when it was read.
        white: nothing else is in it, as where all of it is transparent.
    """

    index: int
    size: tuple[int, int]
    views: tuple[Tensor, ...]
    whole: np.ndarray | None = None
    problem: str = ""
    file: Identity | None = None
    white: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Photos of equal shape may share a batch."""
        return tuple(side for view in self.views for side in view.shape[:2])


def reduction(size: tuple[int, int], max_side: int) -> int:
    """By how much a photo's score grid is coarser than that of a photo within `max_side`: 1, 2, 3, …"""
    return -(-max(size) // max_side)


def working_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """The size at which scale 1 is seen: the photo's own, its long side reduced to `max_side` at most."""
    return size if max(size) <= max_side else with_long_side(size, max_side)


def view_sizes(size: tuple[int, int], scales: Sequence[float], max_side: int) -> list[tuple[int, int]]:
    """(h_s, w_s) at which a photo of `size` is seen at each scale."""
    h, w = working_size(size, max_side)
    return [(max(1, round(h * s)), max(1, round(w * s))) for s in scales]


WINDOW = 2048  # photos whose headers are read before the first of them is decoded


def windowed(indices: Sequence[int], size_of: Callable[[int], tuple[int, int]], max_side: int) -> Iterator[int]:
    """`indices` in the order of `by_shape`, which looks at `WINDOW` of them at a time.

    Sizes of the next window are asked for one by one while this one's indices are taken: no wait at its border.
    """
    sizes = [size_of(index) for index in indices[:WINDOW]]
    for start in range(0, len(indices), WINDOW):
        ahead = iter(indices[start + WINDOW : start + 2 * WINDOW])
        coming: list[tuple[int, int]] = []
        for index in by_shape(indices[start : start + WINDOW], sizes, max_side):
            yield index
            coming += [size_of(one) for one in islice(ahead, 1)]
        sizes = coming


def by_shape(indices: Sequence[int], sizes: Iterable[tuple[int, int]], max_side: int) -> list[int]:
    """`indices` with those together that the network sees at one size, in the order of each size's first.

    oneDNN prepares every convolution anew for a size that it has not seen lately, and batches fill sooner.

    Args:
        sizes: (H, W) of each index's photo; (0, 0) where it is unknown.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in zip(indices, sizes, strict=True):
        groups.setdefault(working_size(size, max_side), []).append(index)
    return [index for group in groups.values() for index in group]


def header_size(path: Path) -> tuple[int, int]:
    """(H, W) of the upright photo as its header tells it; (0, 0) where there is no readable one."""
    try:
        return image_size(path)
    except ImageError:
        return (0, 0)


class Photos(Dataset[Photo]):
    """Decodes and resizes one photo an index; what cannot be read comes back with its reason."""

    def __init__(
        self,
        paths: Sequence[Path],
        indices: Sequence[int],
        *,
        scales: Sequence[float],
        max_side: int,
        max_pixels: int,
        allow_truncated: bool,
        keep_whole: bool,
        reading: Reading = AS_IT_COMES,
        hashed: bool = False,
    ) -> None:
        self.paths, self.indices, self.scales = paths, list(indices), tuple(scales)
        self.max_side, self.max_pixels = max_side, max_pixels
        self.allow_truncated, self.keep_whole = allow_truncated, keep_whole
        self.reading, self.hashed = reading, hashed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Photo:
        index = self.indices[i]
        path = self.paths[index]
        file = identify(path, hashed=self.hashed)
        try:
            image = decode(path, max_pixels=self.max_pixels, allow_truncated=self.allow_truncated, reading=self.reading)
        except ImageError as error:
            return Photo(index, (0, 0), (), problem=error.reason)
        if not file.untouched(path):
            return Photo(index, (0, 0), (), problem=TOUCHED)
        size = (image.shape[0], image.shape[1])
        if max(size) > MAX_SIDE:
            return Photo(index, (0, 0), (), problem=f"too large: {size[1]}x{size[0]}, a side is at most {MAX_SIDE:,}")
        sizes = view_sizes(size, self.scales, self.max_side)
        views = tuple(torch.from_numpy(np.array(resize(image, one))) for one in sizes)
        white = bool(image[0].min() == 255 and image.min() == 255)
        return Photo(index, size, views, image if self.keep_whole else None, file=file, white=white)


_AHEAD = 4  # photos that a worker may be ahead
_TRIES = 3  # so often may workers die before they begin


def _as_it_is(photo: Any) -> Any:
    return photo


def load(photos: Photos, *, workers: int, device: torch.device, order: Iterable[int] | None = None) -> Iterator[Photo]:
    """All photos, or those at the positions `order`, in order, decoded ahead by `workers` processes (0: in this one).

    The processes start before this returns, and once for all photos. Call it while no other thread runs: where they are
    forked, they inherit every lock that a thread holds at that moment.

    Where a worker dies, the photos that were under way are decoded again, one at a time in a process of its own; the
    one at which that dies too comes back with a problem, and the run goes on. Raises `PseudomaskError` where processes
    die before they have begun.
    """
    supply, ready = _Supply(range(len(photos)) if order is None else order), RawValue(c_bool, False)
    return _survive(photos, supply, ready, _start(photos, supply, workers, ready), workers)


class _Supply:
    """Positions, each handed out once; `under_way` are those that have not come out yet."""

    def __init__(self, order: Iterable[int]) -> None:
        self.rest, self.ended = iter(order), False
        self.under_way = deque[int]()

    def __iter__(self) -> Iterator[int]:
        for position in self.rest:
            self.under_way.append(position)
            yield position
        self.ended = True


def _survive(photos: Photos, supply: _Supply, ready: c_bool, started: Iterator[Photo], workers: int) -> Iterator[Photo]:
    again = deque[int]()  # positions that are decoded one at a time
    unborn = 0
    while True:
        awaited = again or supply.under_way
        try:
            for photo in started:
                awaited.popleft()
                yield photo
        except (RuntimeError, ConnectionError, FileNotFoundError, EOFError) as error:
            # It may die while a photo is handed over: then the socket between the two breaks first.
            if not workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
                raise
            unborn = 0 if ready.value else unborn + 1
            if unborn == _TRIES:
                raise PseudomaskError(COULD_NOT_START) from error
            if awaited is not again:
                again.extend(supply.under_way)
                supply.under_way.clear()
            elif not unborn:
                yield Photo(photos.indices[again.popleft()], (0, 0), (), problem="its worker process died")
        if again:
            started = _start(photos, tuple(again), workers, ready, alone=True)
        elif supply.ended:
            return
        else:
            started = _start(photos, supply, workers, ready, anew=True)


def _start(
    photos: Photos, order: Iterable[int], workers: int, ready: c_bool, *, anew: bool = False, alone: bool = False
) -> Iterator[Photo]:
    """The photos at `order`; `alone`: one worker that has one photo at a time.

    `ready` becomes true once a worker has begun. By the time that workers start `anew` threads are writing, and a
    forked process could wait for their locks for ever.
    """
    ready.value = False
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    loader = DataLoader(
        photos,
        sampler=order,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=1 if alone else workers,
        prefetch_factor=None if not workers else 1 if alone else _AHEAD,
        worker_init_fn=partial(_begin, ready),
        pin_memory=False,
        multiprocessing_context="spawn" if workers and (anew or alone) else None,
    )
    with starting():
        decoded = iter(loader)
    if workers and before is not None and threading.current_thread() is threading.main_thread():
        # torch's handler would raise in the midst of whatever this thread does; the iterator finds a death by itself
        signal.signal(signal.SIGCHLD, before)
    return decoded


def _begin(ready: c_bool, worker: int) -> None:
    ready.value = True
    lower_priority()


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
