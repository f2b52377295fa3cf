"""The command line's `Reporter`: a moving bar on a terminal, otherwise a plain line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pseudomask.cli import console
from pseudomask.quoting import duration, printable
from pseudomask.running.reporter import Progress, SilentProgress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

INTERVAL = 5.0  # seconds between two plain lines


class ConsoleReporter:
    """Reports on stderr. `quiet` shows only warnings; `live` forces or forbids the moving bar.

    `json`: stdout is for the result alone.
    """

    def __init__(
        self, *, quiet: bool = False, live: bool | None = None, interval: float = INTERVAL, json: bool = False
    ) -> None:
        self.quiet, self.json = quiet, json
        self.live = console.is_live(sys.stderr) if live is None else live
        self.interval = interval
        self._bars: RichProgress | None = None
        self._hinted = False

    def hint(self, text: str) -> None:
        """Show `text` on a terminal until the next output, because torch and weights take a second or more to load."""
        if self.live and not self.quiet:
            sys.stderr.write(text)
            sys.stderr.flush()
            self._hinted = True

    def settle(self) -> None:
        """Remove the hint."""
        if self._hinted:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._hinted = False

    def data(self, text: str) -> None:
        """Print a line of data at once, for a verb that goes on; on stderr if stdout gets one JSON document."""
        self.settle()
        if self.json:
            console.err(text)
        else:
            console.out(text)

    def info(self, text: str) -> None:
        if not self.quiet:
            self._say(text)

    def warn(self, text: str) -> None:
        self._say(text, "warning: ")

    @contextmanager
    def progress(self, total: int | None, label: str, unit: str = "images") -> Iterator[Progress]:
        self.settle()
        if self.quiet:
            yield SilentProgress()
        elif self.live:
            with self._rich() as bars:
                yield _RichTask(bars, total, label, unit)
        else:
            lines = PlainLines(total, label, unit, self.interval)
            try:
                yield lines
            finally:
                lines.close()

    def _say(self, text: str, head: str = "") -> None:
        self.settle()
        if self._bars is None:
            console.err(text, head=head, colour=console.YELLOW)
        else:  # prints above the bars, without interpreting markup
            from rich.text import Text

            line = Text.assemble((head, "yellow"), printable(text))
            self._bars.console.print(line, highlight=False, soft_wrap=True)

    @contextmanager
    def _rich(self) -> Iterator[RichProgress]:
        """The single live display, which nested bars share."""
        if self._bars is not None:
            yield self._bars
            return
        with _display() as bars:
            self._bars = bars
            try:
                yield bars
            finally:
                self._bars = None


class PlainLines:
    """Prints `label: 120/1000 images (12 %), 5.1 images/s, 2 min left, loss 0.31` now and then."""

    def __init__(self, total: int | None, label: str, unit: str, interval: float) -> None:
        self.total, self.label, self.unit, self.interval = total, label, unit, interval
        self.done = 0
        self.fields: dict[str, object] = {}
        self.start = self.last_print = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, n: int = 1, **fields: object) -> None:
        with self._lock:
            self.done += n
            self.fields.update(fields)
            now = time.monotonic()
            if now - self.last_print >= self.interval and self.done != self.total:  # `close` prints the last
                self.last_print = now
                self.show(self._line(now, left=True))

    def close(self) -> None:
        self.show(self._line(time.monotonic(), left=False))

    def show(self, line: str) -> None:
        """Show the current state."""
        console.err(line)

    def _line(self, now: float, *, left: bool) -> str:
        passed = now - self.start
        rate = self.done / passed if passed > 0 else 0.0
        if self.total:
            count = f"{self.done}/{self.total} {self.unit} ({100 * self.done // self.total} %)"
        else:
            count = f"{self.done} {self.unit}"
        parts = [count, f"{rate:.3g} {self.unit}/s"]
        if not left:
            parts.append(f"in {duration(passed)}")
        elif (told := forecast(self.done, self.total, passed)) and rate > 0:
            parts.append(told)
        return f"{self.label}: " + ", ".join(parts + format_fields(self.fields))


class _RichTask:
    """One bar of the live display."""

    def __init__(self, bars: RichProgress, total: int | None, label: str, unit: str) -> None:
        self.bars = bars
        self.fields: dict[str, object] = {}
        self.task = bars.add_task(printable(label), total=total, unit=unit, extra="")

    def advance(self, n: int = 1, **fields: object) -> None:
        self.fields.update(fields)
        self.bars.update(self.task, advance=n, extra=", ".join(format_fields(self.fields)))


def _display() -> RichProgress:
    # Imported here because Rich takes a tenth of a second to load, which a pipe need not pay for.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            unit, passed = task.fields["unit"], task.elapsed
            return Text(f"{task.completed / passed:.3g} {unit}/s" if passed and task.completed else unit)

    class Left(ProgressColumn):
        """Time left at the mean rate of this run; Rich's own forecast forgets steps that take long."""

        def render(self, task: Task) -> Text:
            return Text(forecast(task.completed, task.total, task.elapsed or 0.0))

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(complete_style="cyan", finished_style="green"),
        MofNCompleteColumn(),
        Rate(),
        Left(),
        TextColumn("{task.fields[extra]}", markup=False),
        console=Console(stderr=True),
    )


def forecast(done: float, total: float | None, passed: float) -> str:
    """`3 min 20 s left` after `passed` seconds; how long it took if all is done; "" if nothing is known."""
    if not total or not done:
        return ""
    return f"{duration((total - done) * passed / done)} left" if done < total else duration(passed)


def format_fields(fields: dict[str, object]) -> list[str]:
    """`loss 0.312` for each field."""
    return [
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in fields.items()
    ]
