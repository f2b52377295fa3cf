"""Batches of photos on a device that this process alone uses: threads around it read ahead and write behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from pseudomask.refining.work import Job, Made, Read, Work, Worked
from pseudomask.running.helpers import compute_alone, lower_thread_priority
from pseudomask.running.manifest import Entry
from pseudomask.running.signals import Stop
from pseudomask.running.workers import Lost, run_jobs

_AHEAD = 2  # batches that are read or have been


def run_batches(
    work: Work,
    batches: Sequence[tuple[Job, ...]],
    workers: int,
    device: torch.device,
    stop: Stop,
    order: Iterable[int] | None = None,
) -> Iterator[tuple[int, Worked | Lost]]:
    """Each batch's position and result: from `workers` processes, or on a GPU from this one and so many threads.

    `order`: as `run_jobs` takes it.
    """
    if workers and device.type != "cpu":
        return run_around(work, batches, workers, stop, order)
    return run_jobs(work, batches, workers, stop, order)


def run_around(
    work: Work, batches: Sequence[Sequence[Job]], threads: int, stop: Stop, order: Iterable[int] | None = None
) -> Iterator[tuple[int, Worked | Lost]]:
    """As `run_jobs`, but this thread refines, while `threads` others read the next batches and write the last.

    A second process would need a second context on the GPU, and the two would take turns there. At most one batch is
    being written: more could be lost by a kill.
    """
    todo = iter(range(len(batches)) if order is None else order)
    reading = deque[tuple[int, list[Future[Read | Entry]]]]()
    writing: tuple[int, list[Future[Entry]]] | None = None
    pool = ThreadPoolExecutor(threads, "refine", _behind)
    try:
        while True:
            while len(reading) < _AHEAD and not stop.requested and (one := next(todo, None)) is not None:
                reading.append((one, [pool.submit(work.read, job) for job in batches[one]]))
            if stop.requested or not reading:
                break
            position, read = reading.popleft()
            made: list[Made | Entry] = work.compute([one.result() for one in read])
            if writing is not None:
                yield _written(work, *writing)
            writing = position, [pool.submit(work.write, one) for one in made]
        if writing is not None:
            yield _written(work, *writing)
    finally:
        pool.shutdown(cancel_futures=True)


def _written(work: Work, position: int, entries: Sequence[Future[Entry]]) -> tuple[int, Worked]:
    return position, Worked([one.result() for one in entries], work.most)


def _behind() -> None:
    """Whoever feeds the device goes first."""
    lower_thread_priority()
    compute_alone()
