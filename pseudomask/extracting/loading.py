"""Photos decoded ahead by worker processes, any of which may die."""

from __future__ import annotations

import signal
import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from ctypes import c_bool
from dataclasses import replace
from functools import partial
from multiprocessing.sharedctypes import RawValue
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from pseudomask.errors import PseudomaskError
from pseudomask.extracting.photos import Photo, Photos
from pseudomask.running.helpers import COULD_NOT_START, lower_priority, starting
from pseudomask.running.shared_memory import has_room

_AHEAD = 4  # photos that a worker may be ahead
_WAITING = 96  # photos that wait for company or are in the batch at hand: five batches of 16, and some more
_TRIES = 3  # so often may workers die before they begin


def _as_it_is(photo: Any) -> Any:
    return photo


def _as_arrays(photo: Any) -> Any:
    """With views that processes hand over through a pipe, as they do all but tensors."""
    return replace(photo, views=tuple(view.numpy() for view in photo.views))


def arrived(photos: Photos, photo: Photo) -> Photo:
    """Views as tensors; a photo that is its own view was not sent twice."""
    views = tuple(torch.from_numpy(view) if isinstance(view, np.ndarray) else view for view in photo.views)
    whole = views[0].numpy() if views and photo.to_scale and photos.keep_whole else photo.whole
    return replace(photo, views=views, whole=whole)


def _views_fit(photos: Photos, workers: int) -> bool:
    """Whether there is shared memory for all views that are under way at once, each photo being as large as it may."""
    largest = 3 * sum(round(photos.max_side * scale) ** 2 for scale in photos.scales)
    return has_room((workers * (_AHEAD + 1) + _WAITING) * largest)


def load(photos: Photos, *, workers: int, device: torch.device, order: Iterable[int] | None = None) -> Iterator[Photo]:
    """All photos, or those at the positions `order`, in order, decoded ahead by `workers` processes (0: in this one).

    The processes start before this returns, and once for all photos. Call it while no other thread runs: where they are
    forked, they inherit every lock that a thread holds at that moment.

    Where a worker dies, the photos that were under way are decoded again, one at a time in a process of its own; the
    one at which that dies too comes back with a problem; the run continues. Raises `PseudomaskError` where processes
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
                yield Photo(photos.indices[again.popleft()], (0, 0), (), problem="the process that decoded it died")
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
    shared = not workers or _views_fit(photos, workers)
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    with starting(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more processes than cores, as was asked for
        loader = DataLoader(
            photos,
            sampler=order,
            batch_size=None,
            collate_fn=_as_it_is if shared else _as_arrays,
            num_workers=1 if alone else workers,
            prefetch_factor=None if not workers else 1 if alone else _AHEAD,
            worker_init_fn=partial(_begin, ready),
            pin_memory=False,
            multiprocessing_context="spawn" if workers and (anew or alone) else None,
        )
        decoded = iter(loader)
    if workers and before is not None and threading.current_thread() is threading.main_thread():
        # torch's handler would raise in the middle of whatever this thread does; the iterator finds a death by itself
        signal.signal(signal.SIGCHLD, before)
    return map(partial(arrived, photos), decoded)


def _begin(ready: c_bool, worker: int) -> None:
    ready.value = True
    lower_priority()
