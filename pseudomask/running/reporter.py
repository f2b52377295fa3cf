"""How verbs report to people: they call a `Reporter` and never print anything themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Bad(str):
    """A summary value that reports a problem, shown in red on a colour terminal."""

    __slots__ = ()


class Progress(Protocol):
    """A running count."""

    def advance(self, n: int = 1, **fields: object) -> None:
        """Count `n` more as done; `fields` are short values to show beside the count (loss=0.31)."""


class Reporter(Protocol):
    """Receives messages; the command line shows them on stderr.

    Optional: `data(text)`, a line that programs read while the verb goes on; without it, `info` gets that line.
    """

    def info(self, text: str) -> None:
        """Show a line worth knowing (the device used, the number of images found)."""

    def warn(self, text: str) -> None:
        """Show a line that the user should see and perhaps act on."""

    def progress(self, total: int | None, label: str, unit: str = "images") -> AbstractContextManager[Progress]:
        """Show the progress of `label` while the block runs; a total of None means that it is unknown."""
        ...


class SilentProgress:
    """Counts nothing."""

    def advance(self, n: int = 1, **fields: object) -> None:
        pass


class SilentReporter:
    """Reports nothing; the default in the Python API."""

    def info(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    @contextmanager
    def progress(self, total: int | None, label: str, unit: str = "images") -> Iterator[Progress]:
        yield SilentProgress()
