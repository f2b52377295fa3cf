"""File locks that child processes do not inherit; otherwise a forked child would hold them as long as it runs.

A `flock` lock belongs to the open file, which a forked child shares, so the lock outlives the parent's `close` and
even the parent. All file locks are therefore taken here, and a child closes its copies before anything else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock, so two processes must not share a folder there
    fcntl = None  # type: ignore[assignment]


def fork_safe_lock() -> threading.Lock:
    """A lock between threads that is always free in a forked child, because a fork waits for the thread holding it."""
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


_opening = fork_safe_lock()  # a descriptor is in `_held` for as long as it is open, even if a thread forks
_held: set[FileLock] = set()


class FileLock:
    """A lock on the file at `path`, which is created if missing, until `release`; exclusive unless `shared`.

    Other processes, and other threads of this one, wait for it or get an error. Child processes never hold it,
    whether forked or spawned. On Windows nothing is locked.

    Attributes:
        handle: the file's descriptor, open for reading and writing (plus `flags`); -1 in a forked child and
            after `release`.

    Raises `BlockingIOError` if the lock is taken and `wait` is off, and `OSError` if the file cannot be
    opened or its file system does not support locks.
    """

    def __init__(self, path: Path, *, wait: bool = True, shared: bool = False, flags: int = 0) -> None:
        self.path, self.handle = path, -1
        while True:
            with _opening:
                self.handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | flags, 0o666)
                _held.add(self)
            try:
                if fcntl is None:
                    return
                kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                fcntl.flock(self.handle, kind | (0 if wait else fcntl.LOCK_NB))
                if self._is_current():
                    return
            except BaseException:
                self.release()
                raise
            self.release()

    def _is_current(self) -> bool:
        """Whether `path` is still the file that was opened; it may have been replaced while waiting."""
        try:
            return os.path.samestat(os.fstat(self.handle), self.path.stat())
        except FileNotFoundError:
            return False

    def share(self) -> None:
        """Downgrade to a shared lock. Another process may briefly get an exclusive one in between."""
        if fcntl is not None:
            fcntl.flock(self.handle, fcntl.LOCK_SH)

    def is_last(self) -> bool:
        """Upgrade to an exclusive lock if nobody shares it; otherwise the lock is lost and `release` must follow."""
        if fcntl is None:
            return True
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return self._is_current()

    def release(self) -> None:
        """Release the lock; has no effect the second time or in a forked child."""
        with _opening:
            if self not in _held:
                return
            _held.remove(self)
            handle, self.handle = self.handle, -1
            try:
                if fcntl is not None:
                    fcntl.flock(handle, fcntl.LOCK_UN)  # `close` alone leaves it to others with the file open
            finally:
                os.close(handle)


@contextmanager
def locked(path: Path, *, wait: bool = True, flags: int = 0) -> Iterator[int]:
    """Yield the descriptor of the file at `path`, locked within the block; raises the same errors as `FileLock`."""
    lock = FileLock(path, wait=wait, flags=flags)
    try:
        yield lock.handle
    finally:
        lock.release()


def _close_copies() -> None:
    """In a forked child: close the copies without unlocking, which would take the locks from the parent."""
    for lock in _held:
        os.close(lock.handle)
        lock.handle = -1
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)
