"""The `Reporter` of notebooks: messages and bars below the cell that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from pseudomask.cli.progress import PlainLines
from pseudomask.errors import SetupError
from pseudomask.quoting import printable
from pseudomask.running.reporter import Progress, SilentProgress

_INTERVAL = 0.3  # seconds between two states of a bar


class NotebookReporter:
    """Shows messages and progress in Jupyter and its relatives.

        pseudomask.extract(config, pseudomask.NotebookReporter())

    `quiet` shows only warnings. Raises `SetupError` where IPython is missing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        try:
            from IPython.display import display
        except ImportError as error:
            raise SetupError("NotebookReporter needs IPython, which comes with Jupyter: pip install jupyter") from error
        self.quiet = quiet
        self._display: Any = display

    def info(self, text: str) -> None:
        if not self.quiet:
            self._show(text, f"<div>{escape(printable(text))}</div>")

    def warn(self, text: str) -> None:
        self._show(f"warning: {text}", f'<div><b style="color: #b60">warning:</b> {escape(printable(text))}</div>')

    @contextmanager
    def progress(self, total: int | None, label: str, unit: str = "images") -> Iterator[Progress]:
        if self.quiet:
            yield SilentProgress()
            return
        bar = _Bar(self._display, total, label, unit)
        try:
            yield bar
        finally:
            bar.close()

    def _show(self, plain: str, html: str) -> None:
        self._display(_bundle(plain, html), raw=True)


class _Bar(PlainLines):
    """The lines of a log, each in the place of the one before, after a bar."""

    def __init__(self, display: Any, total: int | None, label: str, unit: str) -> None:
        super().__init__(total, label, unit, _INTERVAL)
        self._handle = display(self._state(f"{label}: …"), raw=True, display_id=True)

    def show(self, line: str) -> None:
        self._handle.update(self._state(line), raw=True)

    def _state(self, line: str) -> dict[str, str]:
        bar = f'<progress max="{self.total}" value="{self.done}"></progress> ' if self.total else ""
        return _bundle(line, f"<div>{bar}{escape(printable(line))}</div>")


def _bundle(plain: str, html: str) -> dict[str, str]:
    """One output in the two forms of which a front end chooses."""
    return {"text/plain": printable(plain), "text/html": html}
