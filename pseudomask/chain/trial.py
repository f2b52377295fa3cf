"""`run --check`: a short trial of every step, with a few photos and about ten steps of each training.

The trial is the chain itself with smaller settings, in a temporary folder, so that each step is tried on what the one
before it made. Its times and files are then scaled to all photos and steps.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pseudomask.chain.checks import ready
from pseudomask.chain.steps import Chain, Step
from pseudomask.chain.watch import STEPS, Watch
from pseudomask.config import LabelOptions, SplitOptions
from pseudomask.config.common import PhotoListOptions
from pseudomask.data.collection import collect
from pseudomask.data.images import ImageItem, read_list
from pseudomask.errors import PseudomaskError
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop, graceful
from pseudomask.running.walking import walk
from pseudomask.training.schedule import epochs_for
from pseudomask.training.split import gather

TRIED = 10
"""Steps of a training in the trial."""
BUDGET = 60.0
"""Seconds after which a training's trial ends, if it has done `watch.LEAST` steps."""
_FEWEST = 8  # photos of a trial
_MILDER = 0.1  # of the learning rates: a few photos seen ten times may not end the trial


@dataclass(frozen=True)
class Forecast:
    """What a step will take.

    Attributes:
        amount: its photos, or a training's photos, steps and epochs, in words.
        each: seconds per step of the training, or per photo; None where it was not tried.
        seconds, size: all of it; size in bytes.
        why: why it was not tried, or that it is done.
    """

    step: str
    amount: str = ""
    each: float | None = None
    seconds: float = 0.0
    size: int = 0
    why: str = ""


@dataclass(frozen=True)
class _Work:
    """The real size of a step: photos, steps and epochs of a training, photos that it measures after each epoch."""

    photos: int
    steps: int = 0
    epochs: int = 0
    held_out: int = 0
    items: Sequence[ImageItem] = ()

    def told(self) -> str:
        photos = f"{self.photos:,} photos"
        return f"{photos}, {self.steps:,} steps in {self.epochs} epochs" if self.steps else photos


class Trial:
    """Tries the steps of a chain that are not done."""

    def __init__(self, chain: Chain, done: Mapping[str, bool], reporter: Reporter) -> None:
        self.chain, self.done, self.reporter = chain, done, reporter
        self.work: dict[str, _Work] = {}
        self.lost: dict[str, str] = {}
        self.moved: dict[Path, Path] = {}
        self.stopped = 0

    def run(self, steps: Sequence[Step]) -> list[Forecast]:
        """A forecast for each step; those of a signal's rest are missing, and `stopped` is its exit code."""
        found = []
        with tempfile.TemporaryDirectory(prefix="pseudomask-trial-") as folder, graceful() as stop:
            for step in steps:
                self.work[step.label] = self._sized(step)
                if self.done.get(step.label):
                    found.append(Forecast(step.label, self.work[step.label].told(), why="already done"))
                    continue
                self.reporter.info(f"trying {step.label}")
                found.append(self._tried(step, Path(folder), stop))
                if stop.requested:
                    self.stopped = stop.exit_code
                    break
        return found

    def _tried(self, step: Step, folder: Path, stop: Stop) -> Forecast:
        work = self.work[step.label]
        missing = next((label for label in step.needs if label in self.lost), None)
        if missing is not None:
            self.lost[step.label] = f"{missing} could not be tried"
            return Forecast(step.label, work.told(), why=self.lost[step.label])
        watch, started = Watch(stop, BUDGET), time.monotonic()
        try:
            config = self._small(step, folder)
            code = step.verb.run(config, watch).exit_code
            if watch.enough:  # not a signal, but the budget
                stop.signal = None
                code = step.verb.run(replace(config, finish=True), Watch(stop, BUDGET)).exit_code
        except PseudomaskError as error:
            self.lost[step.label] = str(error)
            return Forecast(step.label, work.told(), why=f"the trial failed: {error}")
        if code:
            self.lost[step.label] = f"{step.label} failed on the trial's photos"
        seconds = time.monotonic() - started
        return _scaled(
            step, work, watch, seconds, self._photos(step, config), _sizes(self.moved[step.output.resolve()])
        )

    def _sized(self, step: Step) -> _Work:
        config: Any = step.config
        if isinstance(config, SplitOptions):
            split = gather(config)
            items, held_out = split.training.items, len(split.held_out.items)
            return _training(config, items, len(items), held_out)
        if isinstance(config, LabelOptions):
            items = collect(step.config.images, config).items
            return _Work(len(items), items=items)
        by_label = {one.label: one for one in self.chain.steps}
        made = [label for label in step.needs if not by_label[label].verb.trains]
        photos = max((self.work[label].photos for label in made if label in self.work), default=0)
        if step.verb.trains:
            return _training(config, (), photos, 0)
        names = getattr(config, "list", None)
        return _Work(len(read_list(names)) if names is not None else photos)

    def _small(self, step: Step, folder: Path) -> Any:
        """The step's settings for the trial, whose paths are in `folder`."""
        changes: dict[str, Any] = {}
        place = folder / step.label.replace(" ", "-")
        for path in (step.output, step.verb.product(step.config)):
            self.moved[path.resolve()] = place / path.resolve().relative_to(step.output.resolve())
        for one in fields(step.config):
            value = getattr(step.config, one.name)
            if isinstance(value, Path) and value.resolve() in self.moved:
                changes[one.name] = self.moved[value.resolve()]
            elif one.name in ("html", "csv", "markdown") and value is not None:
                changes[one.name] = folder / f"{place.name}.{one.name}"
        changes |= _SHORT
        if step.verb.trains:
            changes |= {
                name: value * _MILDER for name in ("lr", "lr_head") if (value := getattr(step.config, name, None))
            }
        number = self._number(step)
        items = self.work[step.label].items
        if items:
            chosen = _chosen(items, number, self._measured())
            changes["list"] = folder / f"{place.name}.txt"
            changes["list"].write_text("".join(f"{item.relative}\n" for item in chosen), "utf-8", "surrogateescape")
        elif isinstance(step.config, PhotoListOptions):
            changes |= {"limit": number}
        return ready(step.config, **changes)

    def _number(self, step: Step) -> int:
        """Photos of the trial: a batch of the training that is, or that follows."""
        later = [one for one in self.chain.steps if one.verb.trains and one.verb.method is None]
        sizes: list[int] = [one.config.batch_size for one in ([step] if step.verb.trains else later)]
        return max(_FEWEST, *sizes) if sizes else _FEWEST

    def _photos(self, step: Step, config: Any) -> int:
        """How many photos the trial of a step had."""
        if getattr(config, "list", None) is not None and step.verb.name != "evaluate":
            return len(read_list(config.list))
        return min(self._number(step), max(self.work[step.label].photos, 1))

    def _measured(self) -> set[str]:
        """The names in the lists of evaluations, so that the trial can measure some."""
        lists = {one.config.list for one in self.chain.steps if one.verb.name == "evaluate" and one.config.list}
        return {name for path in lists for name in read_list(path)}


_SHORT = {
    "epochs": TRIED,
    "min_steps": 1,
    "val_list": None,
    "val_fraction": 0.0,
    "patience": 0,
    "missing": "skip",
    "overwrite": False,
    "dry_run": False,
}


def _training(config: Any, items: Sequence[ImageItem], photos: int, held_out: int) -> _Work:
    per_epoch = max(photos // config.batch_size, 1)
    epochs = config.epochs or epochs_for(config.min_steps, photos, config.batch_size, least=5)
    return _Work(photos, per_epoch * epochs, epochs, held_out, items)


def _chosen(items: Sequence[ImageItem], number: int, wanted: set[str]) -> list[ImageItem]:
    """So many photos, evenly spread, half of them with a name in `wanted`."""
    first = [item for item in items if item.key in wanted or item.relative in wanted]
    some = _spread(first, number // 2)
    kept = {item.key for item in some}
    return some + _spread([item for item in items if item.key not in kept], number - len(some))


def _spread(items: Sequence[ImageItem], number: int) -> list[ImageItem]:
    number = min(number, len(items))
    return [items[i * len(items) // number] for i in range(number)]


def _sizes(folder: Path) -> tuple[int, int]:
    """Bytes of the files in a folder itself, and of those below it; a file counts as the latter."""
    if folder.is_file():
        return 0, folder.stat().st_size
    here = below = 0
    for name, full in walk(folder) if folder.is_dir() else ():
        size = Path(full).stat().st_size
        here, below = (here, below + size) if "/" in name else (here + size, below)
    return here, below


def _scaled(step: Step, work: _Work, watch: Watch, seconds: float, photos: int, sizes: tuple[int, int]) -> Forecast:
    """The forecast of a step from its trial, which took `seconds` for `photos` photos."""
    more = work.photos / photos
    total = max(seconds - sum(bar.seconds for bar in watch.bars), 0.0)  # what does not depend on the photos
    each = None
    for bar in watch.bars:
        if bar.unit == STEPS:
            each = bar.each
            total += each * work.steps
            total += work.epochs * work.held_out * each / (3 * step.config.batch_size)  # a forward pass alone
        else:
            real = work.photos if step.verb.name == "evaluate" else (bar.total or bar.done) * more
            each = bar.each if each is None and not step.verb.trains else each
            total += bar.each * real
    here, below = sizes
    size = here + below * more if step.verb.trains else (here + below) * more
    return Forecast(step.label, work.told(), each, total, round(size))
