"""Graceful stopping: the first Ctrl-C or SIGTERM lets the current work finish, the second exits at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """The flag that loops poll between batches."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, otherwise 0."""
        return 0 if self.signal is None else 128 + self.signal


_active: Stop | None = None


@contextmanager
def graceful(notify: Callable[[Stop], None] | None = None) -> Iterator[Stop]:
    """Within the block, the first SIGINT or SIGTERM only sets the yielded flag; the second exits.

    `notify` is called once, from the handler, on the first signal. Blocks may nest: an inner one yields the
    outer one's flag. Outside the main thread, where Python allows no handlers, the flag is never set.
    """
    global _active
    if _active is not None:
        yield _active
        return
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handler = _handler(stop, os.getpid(), notify)
    previous = {number: signal.signal(number, handler) for number in _SIGNALS}
    _active = stop
    try:
        yield stop
    finally:
        _active = None
        for number, old in previous.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


def _handler(stop: Stop, owner: int, notify: Callable[[Stop], None] | None) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            _in_worker(number)
        elif stop.signal is not None:
            _leave(128 + number)
        else:
            stop.signal = number
            if notify is not None:
                notify(stop)

    return handle


def _in_worker(number: int) -> None:
    """A forked worker inherits the handler, so it leaves Ctrl-C to its parent but obeys SIGTERM."""
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _leave(code: int) -> None:
    """Exit immediately without cleaning up, but kill the workers first, because they would outlive us."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        for child in multiprocessing.active_children():
            child.kill()
    os._exit(code)
