"""No child process inherits a lock, whether it is forked while a thread holds one or started anew."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pseudomask.running.locks import FileLock, fork_safe_lock, locked

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="locks on files are POSIX's")


@pytest.fixture
def child() -> Iterator[list[int]]:
    """Forked children that do nothing until the test ends."""
    children: list[int] = []
    yield children
    for pid in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _fork_sleeper(children: list[int]) -> None:
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    children.append(pid)


_HOLDER = """
import os, sys, time
from pathlib import Path
from pseudomask.running.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
if not os.fork():
    print("ready", flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def test_a_lock_is_free_after_its_release_while_a_forked_child_lives(tmp_path: Path, child: list[int]) -> None:
    with locked(tmp_path / "lock"):
        _fork_sleeper(child)
    with locked(tmp_path / "lock", wait=False):
        pass


def test_a_forked_child_has_no_lock_and_takes_none_from_its_parent(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    number = lock.handle
    pid = os.fork()
    if not pid:
        closed = lock.handle == -1 and not _is_open(number)
        other = os.open(tmp_path, os.O_RDONLY)  # gets the number that is free now
        lock.release()
        os._exit(0 if closed and _is_open(other) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    with pytest.raises(BlockingIOError):
        FileLock(lock.path, wait=False)
    lock.release()
    lock.release()
    FileLock(lock.path, wait=False).release()


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def test_a_killed_holder_leaves_no_lock_to_its_child(tmp_path: Path, child: list[int]) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        with pytest.raises(BlockingIOError):
            FileLock(tmp_path / "lock", wait=False)
        holder.kill()
        holder.wait()
        FileLock(tmp_path / "lock", wait=False).release()


def test_a_lock_waits_for_another_and_takes_the_file_that_replaced_the_first(tmp_path: Path) -> None:
    first, taken = FileLock(tmp_path / "lock"), []
    waiting = threading.Thread(target=lambda: taken.append(FileLock(tmp_path / "lock")))
    waiting.start()
    time.sleep(0.1)
    assert not taken
    (tmp_path / "new").touch()
    (tmp_path / "new").replace(tmp_path / "lock")
    first.release()
    waiting.join(10)
    assert os.path.samestat(os.fstat(taken[0].handle), (tmp_path / "lock").stat())
    taken[0].release()


def test_forks_amid_many_short_locks_inherit_none(tmp_path: Path, child: list[int]) -> None:
    stop = threading.Event()

    def lock_often(name: str) -> None:
        while not stop.is_set():
            with locked(tmp_path / name):
                pass

    threads = [threading.Thread(target=lock_often, args=(name,)) for name in ("a", "a", "b")]
    for thread in threads:
        thread.start()
    for _ in range(20):
        _fork_sleeper(child)
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    for name in "ab":
        FileLock(tmp_path / name, wait=False).release()


def test_a_lock_of_threads_is_free_in_a_child_that_was_forked_while_another_thread_held_it() -> None:
    lock, held = fork_safe_lock(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    pid = os.fork()
    if not pid:
        os._exit(0 if lock.acquire(timeout=5) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    holder.join()
