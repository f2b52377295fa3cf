"""Class files: one name per line."""

from __future__ import annotations

from pathlib import Path

from pseudomask.data.labels.table import BACKGROUND_NAMES, check_classes, read_text
from pseudomask.errors import LabelError


def read_classes(path: Path) -> tuple[str, ...]:
    """Foreground class names, one per line; `background` in the first line is index 0 and dropped.

    Raises LabelError, with the line, for names that are empty, duplicate, or background elsewhere.
    """
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    offset = 1
    if lines[0].lower() in BACKGROUND_NAMES:
        lines, offset = lines[1:], 2
    if not any(lines):
        raise LabelError("names no class", path)
    seen: dict[str, int] = {}
    for line, name in enumerate(lines, start=offset):
        if not name or "\0" in name:
            raise LabelError("a class name is empty" if not name else "not a text file", path, line)
        if name.lower() in BACKGROUND_NAMES:
            raise LabelError("background must be on the first line, or left out", path, line)
        if name in seen:
            raise LabelError(f"class '{name}' is a duplicate of line {seen[name]}", path, line)
        seen[name] = line
    return check_classes(lines, path)
