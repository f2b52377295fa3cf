"""The numbers of a chain's steps, and over its repetitions their mean and spread."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pseudomask.chain.record import Entry
from pseudomask.chain.steps import MARK

SHARES = ("mean_iou", "pixel_accuracy", "held_out_miou", "held_out_precision")
"""Numbers in [0, 1] that are shown in percent, as is the IoU of each class."""
IOU = "IoU "
_FINISHED = ("done", "skipped")


@dataclass(frozen=True)
class Spread:
    """One number of one step: its mean, sample standard deviation (None for one value) and range over repetitions."""

    step: str
    number: str
    mean: float
    deviation: float | None
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def share(self) -> bool:
        """Whether it is shown in percent."""
        return self.number in SHARES or self.number.startswith(IOU)

    @property
    def _whole(self) -> bool:
        return not self.share and all(float(value).is_integer() for value in self.values)

    def __str__(self) -> str:
        """`70.1 ± 0.3` in percent, or `0.043 ± 0.001`."""
        digits, factor = (1, 100) if self.share else (3, 1)
        if self._whole:
            digits = 0 if self.low == self.high else 1
        rest = "" if self.deviation is None else f" ± {factor * self.deviation:.{digits}f}"
        return f"{factor * self.mean:,.{digits}f}{rest}"

    @property
    def span(self) -> str:
        """The lowest and the highest value; "" for one."""
        digits, factor = (1, 100) if self.share else (0, 1) if self._whole else (3, 1)
        return f"{factor * self.low:.{digits}f}–{factor * self.high:.{digits}f}" if len(self.values) > 1 else ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"values": list(self.values)}


def spreads(entries: Sequence[Entry]) -> list[Spread]:
    """Every number of every finished step, in the steps' order; those of a step's repetitions together."""
    found: dict[tuple[str, str], list[float]] = {}
    for entry in entries:
        if entry["status"] in _FINISHED:
            for name, value in _numbers(entry).items():
                found.setdefault((entry["step"].partition(MARK)[0], name), []).append(value)
    return [
        Spread(step, name, fmean(some), stdev(some) if len(some) > 1 else None, min(some), max(some), tuple(some))
        for (step, name), some in found.items()
    ]


def _numbers(entry: Entry) -> dict[str, float]:
    """The numbers among a step's results; of an evaluation also pixel accuracy and the IoU of each class."""
    results = _plain(entry["results"])
    if entry["verb"] != "evaluate":
        return results
    report = measured(entry)
    shown = {f"{IOU}{row['name']}": row["iou"] for row in report.get("classes", ()) if row.get("iou") is not None}
    return results | _plain({"pixel_accuracy": report.get("pixel_accuracy")}) | shown


def measured(entry: Entry) -> dict[str, Any]:
    """The report that an evaluation wrote; {} where there is none."""
    with suppress(OSError, ValueError):
        report = json.loads(Path(entry["place"]).read_text("utf-8"))
        return report if isinstance(report, dict) else {}
    return {}


def _plain(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float) and value is not True}
