"""Ensure that only one run at a time writes to a folder, possibly with several processes.

While a process works in the folder, it locks a hidden file there that also names it. The lock ends with the
process, however that ends, and the last process removes the file. On Windows and on file systems without locks,
only the names are used.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pseudomask.errors import FolderInUse
from pseudomask.running.atomic import is_running, write_error
from pseudomask.running.locks import FileLock, fork_safe_lock
from pseudomask.running.reporter import Reporter

LOCK = ".pseudomask.lock"
PATIENCE = 1.0  # seconds; processes take a moment to start and to leave
_STARTUP = 60.0  # seconds that a process waits for another one of its run to start
_POLL = 0.02  # seconds

_mine: dict[str, Holder] = {}  # by the lock file's real path; a process holds each folder only once
_counting = fork_safe_lock()


class Holder:
    """This process as a writer of the folder with the lock file `path`. Made by `hold`."""

    def __init__(self, path: Path, lock: FileLock | None, *, alone: bool) -> None:
        self.path, self.lock, self.alone, self.users = path, lock, alone, 1

    def share(self) -> None:
        """Let in other processes of the same run."""
        if self.lock is not None and self.alone:
            self.lock.share()
        self.alone = False

    def release(self) -> None:
        """Release the folder; has no effect while another part of this process uses it."""
        with _counting:
            self.users -= 1
            if self.users:
                return
            _mine.pop(os.path.realpath(self.path), None)
        if self.lock is None:
            with suppress(OSError):
                self.path.unlink()
            return
        with suppress(OSError):
            if self.lock.is_last():
                self.path.unlink()
        self.lock.release()


def hold(folder: Path, *, share: bool = False, name: str = LOCK) -> Holder:
    """Become a writer of `folder` (created if missing), and the only one if no other process is there.

    Args:
        share: accept being one of several writers; the caller must then check that they belong to the same run.

    Raises `FolderInUse`, which names the process, if others are there, and `PseudomaskError` if the folder cannot be
    written to.
    """
    path = folder / name
    with _counting:
        mine = _mine.get(os.path.realpath(path))
        if mine is not None:
            mine.users += 1
            return mine
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holder = _take(path, share)
        _sign(path)
    except OSError as error:
        raise write_error(path, error) from error
    _mine[os.path.realpath(path)] = holder
    return holder


@contextmanager
def holding(folder: Path, *, name: str = LOCK) -> Iterator[None]:
    """Be the only writer of `folder` within the block; raises the same errors as `hold`."""
    holder = hold(folder, name=name)
    try:
        yield
    finally:
        holder.release()


def _take(path: Path, share: bool) -> Holder:
    started = time.monotonic()
    while True:
        for shared in (False, True) if share else (False,):
            try:
                return Holder(path, FileLock(path, wait=False, shared=shared), alone=not shared)
            except BlockingIOError:
                continue
            except PermissionError:
                raise
            except OSError:
                if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
                    raise
                return _by_name(path, share)
        if time.monotonic() - started > (_STARTUP if share else PATIENCE):
            raise _in_use(path)
        time.sleep(_POLL)


def _by_name(path: Path, share: bool) -> Holder:
    """The fallback without locks: look for signatures of processes still running on this machine."""
    others = [one for one in _signatures(path) if _is_alive(one)]
    if others and not share:
        raise _in_use(path)
    return Holder(path, None, alone=not others)


def _sign(path: Path) -> None:
    facts = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": shlex.join(sys.argv)[:300],
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with path.open("ab") as file:
        file.write(json.dumps(facts).encode() + b"\n")


def _signatures(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError):
            one = json.loads(line)
            if isinstance(one, dict):
                found.append(one)
    return found


def _is_alive(one: dict[str, Any]) -> bool:
    """Whether the process is still running; always true for other machines, never on Windows."""
    pid = one.get("pid")
    if one.get("host") != socket.gethostname():
        return True
    if os.name == "nt" or not isinstance(pid, int) or pid <= 0 or pid == os.getpid():
        return False
    return is_running(pid)


def who(path: Path) -> str:
    """A description of the first running process that signed the lock file at `path`."""
    one = next((one for one in _signatures(path) if _is_alive(one)), None)
    if one is None:
        return "another process"
    facts = {name: "".join(c if c.isprintable() else "?" for c in str(one.get(name, "?"))) for name in one}
    return f"process {facts.get('pid')} on {facts.get('host')} ({facts.get('command')}, since {facts.get('since')})"


def _in_use(path: Path) -> FolderInUse:
    return FolderInUse(f"{path.parent} is in use by {who(path)}; wait until it ends, stop it, or choose another folder")


def report_filling(folder: Path, reporter: Reporter) -> None:
    """Warn if another process is still writing to `folder`, so that its content is incomplete."""
    path = folder / LOCK
    if os.path.realpath(path) in _mine or not path.is_file():
        return
    try:
        FileLock(path, wait=False).release()
    except BlockingIOError:
        reporter.warn(f"{folder} is still being written by {who(path)}; only its current content is used")
    except OSError:
        return
