"""What `run --check` returns: what would run, for how long on this device, and what disk and memory it takes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.chain.outcome import RunResult
from pseudomask.chain.record import Entry
from pseudomask.chain.status import StepStatus
from pseudomask.chain.steps import Chain, Step
from pseudomask.chain.trial import Forecast, Trial
from pseudomask.quoting import duration
from pseudomask.running.jsonable import json_object
from pseudomask.running.record import peak_memory
from pseudomask.running.reporter import Reporter


@dataclass
class RunCheck(RunResult):
    """The result of `run --check`.

    Attributes:
        forecasts: of each step of the file; `repeats`: how many times each is run.
        device: where the trial ran.
        memory, gpu_memory: peak of the trial in bytes; None where it is not known.
        free: bytes free where `out` is.
        exit_code: 0, 1 if a step could not be tried, or that of a signal.
    """

    forecasts: Sequence[Forecast] = ()
    device: str = ""
    memory: int | None = None
    gpu_memory: int | None = None
    free: int = 0
    repeats: Mapping[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return sum(one.seconds * self._times(one) for one in self.forecasts)

    @property
    def size(self) -> int:
        return sum(one.size * self._times(one) for one in self.forecasts)

    def _times(self, one: Forecast) -> int:
        return self.repeats.get(one.step, 1)

    def headline(self) -> str:
        return f"about {duration(self.seconds)} on {self.device}, {_size(self.size)} below {self.out}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for one in self.forecasts:
            times = self._times(one)
            each = "" if one.each is None else f"{one.each:.3g} s"
            about = one.why if one.why else duration(one.seconds) + (f" × {times}" if times > 1 else "")
            rows.append([one.step, one.amount, each, about, _size(one.size) if one.size else ""])
        return ["step", "of", "each", "about", "disk"], rows

    def summary(self) -> list[tuple[str, str]]:
        return [("in all", self.headline()), *((row[0], ", ".join(row[1:])) for row in self.table()[1])]

    def notes(self) -> list[str]:
        memory = [f"{_size(self.memory)} of memory"] if self.memory else []
        memory += [f"{_size(self.gpu_memory)} of the GPU's"] if self.gpu_memory else []
        lines = [
            "estimated from about ten steps of each training and a few photos, tried in a temporary folder; nothing "
            "was written below " + str(self.out)
        ]
        lines += [f"the trial took {' and '.join(memory)}"] if memory else []
        if self.size > self.free:
            lines.append(f"the disk has only {_size(self.free)} free")
        return lines

    def to_json(self) -> dict[str, Any]:
        facts = {"schema": 1, "seconds": round(self.seconds, 1), "size": self.size, "device": self.device}
        facts |= {"memory": self.memory, "gpu_memory": self.gpu_memory, "free": self.free, "steps": self.forecasts}
        return json_object(facts)


def forecast(
    chain: Chain,
    steps: Sequence[Step],
    statuses: Mapping[str, StepStatus],
    entries: list[Entry],
    reporter: Reporter,
) -> RunCheck:
    """Try the steps that are not done; repetitions are not tried again."""
    first = [step for step in steps if not step.repeat]
    trial = Trial(chain, {step.label: statuses[step.label].state == "done" for step in first}, reporter)
    found = trial.run(first)
    repeats: dict[str, int] = {}
    for step in steps:
        repeats[step.base] = repeats.get(step.base, 0) + 1
    return RunCheck(
        out=chain.out,
        steps=entries,
        dry=True,
        forecasts=found,
        device=_device(first),
        memory=peak_memory(),
        gpu_memory=_gpu_memory(),
        free=shutil.disk_usage(_existing(chain.out)).free,
        exit_code=trial.stopped or int(bool(trial.lost)),
        repeats=repeats,
    )


def _device(steps: Sequence[Step]) -> str:
    from pseudomask.devices import pick_device

    names = dict.fromkeys(str(pick_device(step.config.device)) for step in steps if hasattr(step.config, "device"))
    return " and ".join(names) or "cpu"


def _gpu_memory() -> int | None:
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def _existing(path: Path) -> Path:
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _size(size: float) -> str:
    """`12 MB`, `3.4 GB`, `1.2 TB`."""
    for unit, step in (("MB", 1e6), ("GB", 1e9), ("TB", 1e12)):
        if size < 1000 * step or unit == "TB":
            return f"{size / step:.2g} {unit}" if size < 10 * step else f"{size / step:,.0f} {unit}"
    raise AssertionError
