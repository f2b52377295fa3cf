"""Thread and priority settings for worker processes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COULD_NOT_START = (
    "a worker process could not start; use --workers 0, or, in your own script, put the call under "
    '`if __name__ == "__main__":`'
)
_LESS = 10  # steps of priority


@contextmanager
def starting(**variables: str) -> Iterator[None]:
    """Give processes started within the block these variables, and keep them from importing from the current folder:
    without `PYTHONSAFEPATH`, a new Python would import `pickle` from there before it receives this process's path.
    """
    variables["PYTHONSAFEPATH"] = "1"
    old = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in old.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def compute_alone() -> None:
    """Run this thread's torch operations on a single thread; other threads are unaffected."""
    import torch

    torch.set_num_threads(1)


def one_thread() -> None:
    """Limit torch and OpenCV to one thread, because there is already one process per core."""
    import cv2

    cv2.setNumThreads(1)
    compute_alone()


def lower_priority(worker: int = 0) -> None:
    """Use one thread and low priority; a `worker_init_fn` for torch's DataLoader.

    A network's threads wait for each other, so a decoder that briefly takes the processor from one of them stalls
    them all. With low priority, it works ahead while they are idle.

    OpenCV's threads are left alone, because a forked process would wait forever for its parent's threads.
    """
    compute_alone()
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_LESS)


def lower_thread_priority() -> None:
    """Lower the priority of the current thread, if the system supports thread priorities."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _LESS)
