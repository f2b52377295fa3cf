"""Write files and folders completely or not at all: write to a temporary name beside the target, then rename.

A killed run leaves behind at most hidden `.pseudomask-*.part` files, which `sweep_leftovers` removes; `atomic_folder`
removes leftover folders beside its target.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pseudomask.errors import PseudomaskError

_REASONS = {
    errno.ENOSPC: "no space left on the disk; free some and run the same command again to resume",
    errno.EDQUOT: "disk quota exceeded; free some space and run the same command again to resume",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "permission denied; choose a folder that you can write to",
    errno.EPERM: "permission denied; choose a folder that you can write to",
    errno.ENOTDIR: "part of the path is a file, not a folder",
    errno.EEXIST: "part of the path is a file, not a folder",
    errno.EISDIR: "a folder with this name exists",
    errno.ENAMETOOLONG: "the name is too long for the file system",
}


def place(boot: Path = Path("/proc/sys/kernel/random/boot_id"), ids: Path = Path("/proc/self/ns/pid")) -> str:
    """Where process ids are unique: a container's are its own, even if it has another one's host name."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(boot.read_text())
    with suppress(OSError):
        facts.append(str(ids.readlink()))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


_HOST = place()
_LEFTOVER = re.compile(r"\.pseudomask-([0-9a-f]{8})-(\d+)-\d+\.part")
_FOREIGN_AGE = 24 * 3600.0  # seconds after which leftovers from other machines count as dead
_count = itertools.count()


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Yield a binary stream whose content becomes `path` when the block ends without an exception.

    Missing parent folders are created. `durable` also waits until the data is on disk (fsync).
    Raises `PseudomaskError` if the disk is full or `path` cannot be written. After that, or any other
    exception in the block, an existing `path` is unchanged.
    """
    temporary = _beside(path)
    try:
        try:
            with _created(temporary) as stream:
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        if not _is_ours(error, path, temporary):
            raise
        raise write_error(path, error) from error


def _created(path: Path) -> BinaryIO:
    try:
        return path.open("xb")
    except FileNotFoundError:  # asking first would cost a network's file system as much as the file itself
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


def atomic_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write `text` as UTF-8 with `atomic_write`; names that are not valid UTF-8 keep their bytes."""
    with atomic_write(path, durable=durable) as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder whose content becomes `path` when the block ends without an exception.

    `path` may be missing or an empty folder; with `replace`, a non-empty folder is replaced too. Raises
    `PseudomaskError` if it cannot be written. After that, or any other exception in the block, `path` is
    unchanged.
    """
    target = Path(os.path.realpath(path))  # follow links, so that a link stays a link
    temporary = _beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep_folders(target.parent)
        temporary.mkdir()
        try:
            yield temporary
            _take_place(temporary, target, replace)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        if not _is_ours(error, target, temporary):
            raise
        raise write_error(path, error) from error


def _take_place(new: Path, target: Path, replace: bool) -> None:
    if not replace or not target.exists():
        new.rename(target)  # works if `target` is an empty folder
        return
    old = _beside(target)
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A short temporary name, independent of the target's name, which may already be 255 bytes long."""
    return path.parent / f".pseudomask-{_HOST}-{os.getpid()}-{next(_count)}.part"


def write_error(path: Path, error: OSError) -> PseudomaskError:
    """The one-line exception for a failure to write `path`."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return PseudomaskError(f"cannot write {path}: {reason}")


def sweep_leftovers(folder: Path) -> int:
    """Remove the temporary files that dead runs left below `folder`, and return how many there were.

    Since processes may share an output folder, files of processes still running on this machine are kept, as are
    files from other machines and containers, or from before a reboot, that are less than a day old.
    """
    removed = 0
    for where, _, names in os.walk(folder):
        for name in names:
            found = _LEFTOVER.fullmatch(name)
            if found is None:
                continue
            leftover = Path(where, name)
            with suppress(OSError):
                if _is_dead(found[1], int(found[2]), leftover):
                    leftover.unlink()
                    removed += 1
    return removed


def _sweep_folders(parent: Path) -> None:
    """Remove the folders that killed `atomic_folder` calls left directly below `parent`."""
    for leftover in parent.glob(".pseudomask-*.part"):
        found = _LEFTOVER.fullmatch(leftover.name)
        with suppress(OSError):
            if found and leftover.is_dir() and _is_dead(found[1], int(found[2]), leftover):
                shutil.rmtree(leftover, ignore_errors=True)


def _is_dead(host: str, process: int, leftover: Path) -> bool:
    if host != _HOST:
        return time.time() - leftover.stat().st_mtime > _FOREIGN_AGE
    return not is_running(process)


def is_running(process: int) -> bool:
    """Whether a process with this id is running on this machine; not for Windows, where asking could kill it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _is_ours(error: OSError, path: Path, temporary: Path) -> bool:
    """Whether `error` comes from writing `path` rather than from a file that the block itself reads."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename)) if not isinstance(error.filename, int) else None
    return named is not None and (named in (path, temporary, *path.parents) or temporary in named.parents)
