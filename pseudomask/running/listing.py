"""The mask or score files of a folder, found by walking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pseudomask.errors import UsageError


@dataclass(frozen=True, slots=True)
class File:
    """A mask or score file: its path below its folder, and the same without suffix."""

    key: str
    relative: str
    path: Path


def find_files(folder: Path, suffix: str) -> list[File]:
    """Files below `folder` with this suffix, in any case, sorted by key; hidden ones are skipped.

    Raises UsageError where the folder is missing or is a file.
    """
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {problem}")
    found = []
    for path in _walk(folder):
        if path.name.lower().endswith(suffix):
            relative = path.relative_to(folder).as_posix()
            found.append(File(relative[: -len(suffix)], relative, path))
    return sorted(found, key=lambda file: file.key)


def _walk(folder: Path) -> Iterator[Path]:
    """Files below `folder`, following links to folders once."""
    seen = {os.path.realpath(folder)}
    for where, folders, files in os.walk(folder, followlinks=True):
        keep = []
        for name in folders:
            real = os.path.realpath(Path(where, name))
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                keep.append(name)
        folders[:] = keep
        yield from (Path(where, name) for name in files if not name.startswith("."))
