"""What the work tells the person who waits: the verbs call a `Reporter` and never print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Bad(str):
    """A value of a result's summary that tells of something wrong, shown in red where there are colours."""

    __slots__ = ()


class Progress(Protocol):
    """One running count of things done."""

    def advance(self, n: int = 1, **fields: object) -> None:
        """`n` more are done; `fields` are short values to show beside the count (loss=0.31)."""


class Reporter(Protocol):
    """Where news go; the command line shows them on stderr."""

    def info(self, text: str) -> None:
        """A line worth knowing (the device that was taken, how many images were found)."""

    def warn(self, text: str) -> None:
        """A line that the person should act on or at least see."""

    def progress(self, total: int | None, label: str, unit: str = "images") -> AbstractContextManager[Progress]:
        """Show how far `label` is while the block runs; `total` None means that nobody knows."""
        ...


class SilentProgress:
    """Counts nothing."""

    def advance(self, n: int = 1, **fields: object) -> None:
        pass


class SilentReporter:
    """Says nothing: the default of the Python API."""

    def info(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    @contextmanager
    def progress(self, total: int | None, label: str, unit: str = "images") -> Iterator[Progress]:
        yield SilentProgress()
