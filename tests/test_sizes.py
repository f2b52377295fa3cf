"""A file of the package is short enough to be read in one go."""

from __future__ import annotations

from pathlib import Path

import pseudomask

LINES = 250
LONGER = {
    "verbs.py": "one table, an argument a line",
}
"""File → why it is longer all the same."""


def test_no_file_is_longer_without_a_reason() -> None:
    package = Path(pseudomask.__file__).parent
    lines = {
        path.relative_to(package).as_posix(): path.read_bytes().count(b"\n") for path in sorted(package.rglob("*.py"))
    }
    assert len(lines) > 150
    assert {name for name, count in lines.items() if count > LINES} == set(LONGER)
    assert all(LONGER.values())
