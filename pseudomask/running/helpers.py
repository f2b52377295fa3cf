"""What processes are told that work for this one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COULD_NOT_START = (
    "a worker process could not start; use --workers 0, or, in a script of your own, put the call under "
    '`if __name__ == "__main__":`'
)
_LESS = 10  # steps of priority


@contextmanager
def starting(**variables: str) -> Iterator[None]:
    """Processes that start within the block have these environment variables, and modules of the current folder are
    out of their sight: without `PYTHONSAFEPATH` a new Python takes its `pickle` from there, before it is told where
    this one looks for modules.
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
    """One thread for what torch computes in this thread; the others of the process keep theirs."""
    import torch

    torch.set_num_threads(1)


def one_thread() -> None:
    """The same for OpenCV too: there is a process for each core already."""
    import cv2

    cv2.setNumThreads(1)
    compute_alone()


def stand_back(worker: int = 0) -> None:
    """One thread, and a low priority; a `worker_init_fn` of torch's DataLoader.

    The threads of a network wait for each other, so that a decoder that takes the processor from one of them for a
    moment stops them all. With a low priority it runs while they have nothing to do, ahead of need.

    OpenCV's threads are left alone: in a forked process it would wait for ever for those of its parent to end.
    """
    compute_alone()
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_LESS)


def thread_stands_back() -> None:
    """The same for a thread of this process, where the system knows priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _LESS)
