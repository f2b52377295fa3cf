"""Run jobs in worker processes that may die: only the dead worker's job is lost, and the worker is replaced.

In a `ProcessPoolExecutor`, by contrast, one killed worker breaks the pool, and nobody knows which job it had.
"""

from __future__ import annotations

import multiprocessing as mp
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from pseudomask.errors import PseudomaskError
from pseudomask.running.helpers import COULD_NOT_START, one_thread, starting
from pseudomask.running.signals import Stop

Job = TypeVar("Job")
Result = TypeVar("Result")

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Lost:
    """Replaces the result of a job whose worker died; `reason` is a short phrase."""

    reason: str


@dataclass
class _Worker:
    process: BaseProcess
    link: Connection
    position: int | None = None  # of its current job; None until it is ready
    ready: bool = False


def run_jobs(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    stop: Stop,
    order: Iterable[int] | None = None,
) -> Iterator[tuple[int, Result | Lost]]:
    """Yield (position, result) for each job as it finishes; with 0 workers, in this process and in order.

    `order`: the positions of the jobs to run, each taken when a worker is ready for it; by default all.

    `work`, jobs and results must be picklable. Workers are spawned rather than forked, so that they copy no threads
    or locks of this process, and compute with one thread each. Once `stop` is requested, no further
    job is started. Exceptions in `work` are raised here and end all jobs.
    """
    if workers < 1 or not jobs:
        for position in range(len(jobs)) if order is None else order:
            if stop.requested:
                return
            yield position, work(jobs[position])
        return
    pool = _Pool(work, jobs, min(workers, len(jobs)), stop, range(len(jobs)) if order is None else order)
    try:
        yield from pool.results()
    finally:
        pool.close()


class _Pool(Generic[Job, Result]):
    def __init__(
        self, work: Callable[[Job], Result], jobs: Sequence[Job], count: int, stop: Stop, order: Iterable[int]
    ) -> None:
        self.work, self.jobs, self.stop = work, jobs, stop
        self.order, self.next = iter(order), list[int]()  # `next`: positions taken, but not handed out yet
        self.context = mp.get_context("spawn")
        self.workers: list[_Worker] = []
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self.close()
            raise

    def results(self) -> Iterator[tuple[int, Result | Lost]]:
        while self.workers:
            links = {worker.link: worker for worker in self.workers}
            for link in wait(list(links)):
                worker = links[link]  # type: ignore[index]
                try:
                    kind, value = worker.link.recv()
                except (EOFError, OSError):
                    yield from self._replace(worker)
                    continue
                position = worker.position
                self._hand_out(worker)  # before the result is used, so that the worker never waits
                if kind == "error":
                    raise value
                if kind == "done":
                    assert position is not None
                    yield position, value

    def _start(self) -> None:
        link, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(self.work, theirs), daemon=True)
        with starting(**dict.fromkeys(_THREADS, "1")):  # read when the child loads its libraries
            process.start()
        theirs.close()
        self.workers.append(_Worker(process, link))

    def _hand_out(self, worker: _Worker) -> None:
        """Send the worker its next job, or end it if there is none."""
        worker.ready, worker.position = True, None
        try:
            if self._more():
                worker.position = self.next.pop()
                worker.link.send(self.jobs[worker.position])
                return
            worker.link.send(None)
        except OSError:  # it died between two jobs, as the next `recv` will show; nothing is lost
            if worker.position is not None:
                self.next.append(worker.position)
                worker.position = None
            return
        self.workers.remove(worker)
        worker.process.join()
        worker.link.close()

    def _replace(self, worker: _Worker) -> Iterator[tuple[int, Lost]]:
        self.workers.remove(worker)
        worker.process.join()
        worker.link.close()
        if not worker.ready:
            raise PseudomaskError(f"{COULD_NOT_START} ({_cause(worker.process.exitcode)})")
        if worker.position is not None:
            yield worker.position, Lost(f"its worker process died ({_cause(worker.process.exitcode)})")
        if self._more():
            self._start()

    def _more(self) -> bool:
        """Whether there is another job to hand out."""
        if not self.next and not self.stop.requested:
            self.next.extend(islice(self.order, 1))
        return bool(self.next) and not self.stop.requested

    def close(self) -> None:
        """Kill all workers; their jobs are lost."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()
            worker.link.close()
        self.workers.clear()


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"{name}; out of memory?" if -code == getattr(signal, "SIGKILL", 0) else name
    return f"exit code {code}"


def _serve(work: Callable[[Any], Any], link: Connection) -> None:
    """The worker's loop: report ready, then run jobs until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    one_thread()
    try:
        link.send(("ready", None))
        while (job := link.recv()) is not None:
            try:
                answer = ("done", work(job))
            except Exception as error:
                answer = ("error", error if isinstance(error, PseudomaskError) else _plain(error))
            link.send(answer)
    except (EOFError, OSError):
        return  # the parent is gone


def _plain(error: Exception) -> PseudomaskError:
    """Convert an exception to one that is sure to be picklable."""
    return PseudomaskError(f"internal error in a worker: {type(error).__name__}: {error}")
