"""Walk through all visible files below a folder, visiting each folder once, however many links lead to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pseudomask.errors import UsageError


def walk(folder: Path, skipped: tuple[int, int] | None = None) -> Iterator[tuple[str, str]]:
    """Yield the (relative, full) path of every visible regular file, real folders before linked ones.

    `skipped` identifies a folder that is not visited, unless it is `folder` itself. Raises `UsageError` for a folder
    that cannot be read.
    """
    seen = set() if skipped is None or skipped == identity_of(folder) else {skipped}
    real, linked = [("", str(folder))], list[tuple[str, str]]()
    while real or linked:
        if real:
            prefix, current = real.pop()
        else:
            linked.sort(reverse=True)
            prefix, current = linked.pop()
        identity = identity_of(current)
        if identity in seen:
            continue
        seen.add(identity)
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    kind = _entry_kind(entry)
                    if kind == "folder":
                        (linked if entry.is_symlink() else real).append((f"{prefix}{entry.name}/", entry.path))
                    elif kind == "file":
                        yield prefix + entry.name, entry.path
        except OSError as error:
            raise UsageError(f"{current}: cannot read the folder ({error.strerror})") from error


def _entry_kind(entry: os.DirEntry[str]) -> str:
    """`folder`, `file` or `other`; a broken link counts as a file, so that it is reported."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or entry.is_symlink() else "other"
    except OSError:  # a link that points to itself
        return "file"


def identity_of(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - may also be a plain string
    return status.st_dev, status.st_ino
