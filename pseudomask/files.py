"""Safely open files that others name: never a device, nor a pipe that would block forever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_MOST_OF_A_PIPE = 1 << 30
_DESCRIPTORS = ("/dev/fd/", "/dev/stdin", "/proc/")  # where a shell's `<(command)` appears


def open_file(path: Path | str, *, pipe: bool = False) -> BinaryIO:
    """Open a regular file for reading.

    `pipe` also accepts a shell's `<(command)`, which can be read only once. Raises `OSError` for anything else that
    is not a regular file, except `/dev/null`.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    try:
        status = os.fstat(file.fileno())
        if stat.S_ISFIFO(status.st_mode) and pipe and str(path).startswith(_DESCRIPTORS):
            os.set_blocking(file.fileno(), True)
        elif not stat.S_ISREG(status.st_mode) and not _is_nothing(status):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
    except BaseException:
        file.close()
        raise
    return file


def read_bytes(path: Path | str, *, pipe: bool = False) -> bytes:
    """The content of a file. Raises the errors of `open_file`, and `OSError` for a pipe with more than 1 GiB."""
    with open_file(path, pipe=pipe) as file:
        if not pipe or file.seekable():
            return file.read()
        data = file.read(_MOST_OF_A_PIPE + 1)
        if len(data) > _MOST_OF_A_PIPE:
            raise OSError(errno.EFBIG, "the pipe has more than 1 GiB", str(path))
        return data


def _without_waiting(name: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _is_nothing(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev  # noqa: PTH116
