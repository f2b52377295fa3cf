"""A file system as slow as one behind a network, for simulations: each operation below a folder waits first."""

from __future__ import annotations

import builtins
import fcntl
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BY_PATH = ("open", "stat", "lstat", "rename", "replace", "unlink", "mkdir", "rmdir", "scandir", "listdir", "access")


def slow_below(folder: Path, seconds: float) -> None:
    """From now on, operations of this process and its forks on files below `folder` take `seconds` longer.

    These are calls with a path, and locks and writes of descriptors that `os.open` returned, such as the manifest's.
    Reads, and writes of whole files, which are buffered, cost nothing.
    """
    root, opened = f"{folder}{os.sep}", set[int]()

    def slow(call: Callable[..., Any], *, keep: bool = False) -> Callable[..., Any]:
        def later(path: Any, *args: Any, **more: Any) -> Any:
            if isinstance(path, int) or not str(path).startswith(root):
                return call(path, *args, **more)
            time.sleep(seconds)
            found = call(path, *args, **more)
            if keep:
                opened.add(found)
            return found

        return later

    def slow_handle(call: Callable[..., Any]) -> Callable[..., Any]:
        def later(handle: Any, *args: Any) -> Any:
            if handle in opened:
                time.sleep(seconds)
            return call(handle, *args)

        return later

    close = os.close

    def closing(handle: int) -> None:
        opened.discard(handle)
        close(handle)

    for name in _BY_PATH:
        setattr(os, name, slow(getattr(os, name), keep=name == "open"))
    os.close = closing
    os.write, fcntl.flock = slow_handle(os.write), slow_handle(fcntl.flock)
    builtins.open = io.open = slow(io.open)  # type: ignore[assignment]
