"""A reporter that measures instead of showing: how long each step of a training and each photo takes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from pseudomask.running.reporter import SilentReporter
from pseudomask.running.signals import Stop

STEPS = "steps"
LEAST = 3
"""Steps of a training that are tried however long they take."""


@dataclass
class Bar:
    """One running count: what it counts, how many there are to be, and when how many were done."""

    unit: str
    total: int | None
    started: float = field(default_factory=time.monotonic)
    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    @property
    def done(self) -> int:
        return sum(self.sizes)

    @property
    def seconds(self) -> float:
        """All of its time."""
        return self.times[-1] - self.started if self.times else 0.0

    @property
    def each(self) -> float:
        """Seconds per unit; the first, which prepares much, counts only if it is alone."""
        if not self.times:
            return 0.0
        if len(self.times) == 1:
            return self.seconds / max(self.done, 1)
        gaps = [later - before for before, later in zip(self.times, self.times[1:], strict=False)]
        if self.unit == STEPS:
            return median(gaps)
        done = sum(self.sizes[1:])  # 0 where other processes are counted too, and none has done anything
        return sum(gaps) / done if done else self.seconds / max(self.done, 1)


class Watch(SilentReporter):
    """Keeps the bars of a step, and asks a training to stop when it has taken more than `budget` seconds."""

    def __init__(self, stop: Stop, budget: float) -> None:
        self.bars: list[Bar] = []
        self.stop, self.budget = stop, budget
        self.enough = False

    @contextmanager
    def progress(self, total: int | None, label: str, unit: str = "images") -> Iterator[_Count]:
        bar = Bar(unit, total)
        self.bars.append(bar)
        yield _Count(self, bar)

    def counted(self, bar: Bar) -> None:
        late = time.monotonic() - bar.started > self.budget
        if bar.unit == STEPS and late and bar.done >= LEAST and self.stop.signal is None:
            self.enough = True
            self.stop.signal = signal.SIGTERM


@dataclass
class _Count:
    watch: Watch
    bar: Bar

    def advance(self, n: int = 1, **fields: object) -> None:
        self.bar.times.append(time.monotonic())
        self.bar.sizes.append(n)
        self.watch.counted(self.bar)
