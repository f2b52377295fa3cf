"""Find the mask or score files in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.errors import UsageError
from pseudomask.running.walking import walk


@dataclass(frozen=True, slots=True)
class File:
    """A mask or score file: its path within its folder, with and without the suffix."""

    key: str
    relative: str
    path: Path


def find_files(folder: Path, suffix: str) -> list[File]:
    """Files below `folder` with this suffix (in any case), sorted by key; hidden files are skipped.

    Raises UsageError if the folder is missing, is a file or cannot be read.
    """
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {problem}")
    names = (relative for relative, _ in walk(folder) if relative.lower().endswith(suffix))
    return sorted((File(name[: -len(suffix)], name, folder / name) for name in names), key=lambda file: file.key)
