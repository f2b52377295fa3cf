"""What `evaluate` measured, as cards quote it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pseudomask.errors import UsageError
from pseudomask.files import read_bytes
from pseudomask.quoting import printable


@dataclass(frozen=True)
class Measures:
    """Mean IoU and IoU by class in [0, 1], one value for each report; `protocol` is the first report's."""

    means: tuple[float, ...] = ()
    iou: dict[str, tuple[float, ...]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)

    @property
    def on(self) -> str:
        return f"{self.protocol.get('images')} images, {self.protocol.get('listed') or 'all pairs found'}"

    def metrics(self) -> list[dict[str, Any]]:
        """For a model-index, in per cent."""
        found = [{"type": "mean_iou", "name": "mean IoU", "value": _per_cent(self.means)}]
        return found + [
            {"type": "iou", "name": f"IoU, {name}", "value": _per_cent(values)} for name, values in self.iou.items()
        ]

    def lines(self) -> list[str]:
        """Markdown: a table with the spread, the protocol, and what was not compared."""
        if not self.means:
            return ["## Quality", "", "Not measured: no masks were compared with true masks."]
        rows = [("mean", self.means), *self.iou.items()]
        spread = "not known: one run" if len(self.means) == 1 else f"standard deviation of {len(self.means)} runs"
        lines = ["## Quality", "", f"Measured on {self.on}.", "", f"| class | IoU, % | spread ({spread}) |"]
        lines += ["| --- | --- | --- |"]
        for name, values in rows:
            deviation = f"{100 * stdev(values):.1f}" if len(values) > 1 else "-"
            lines.append(printable(f"| {name} | {_per_cent(values):.1f} | {deviation} |"))
        facts = {key: self.protocol.get(key) for key in ("threshold", "threshold_source", "threshold_chosen", "ignore")}
        lines += ["", *(printable(f"- {key.replace('_', ' ')}: {value}") for key, value in facts.items() if value)]
        missing = {
            "classes in no mask": self.protocol.get("absent"),
            "classes not in the mean": self.protocol.get("not_in_mean"),
            "photos without a true mask": self.protocol.get("without_truth"),
            "photos without a mask": self.protocol.get("without_prediction"),
        }
        told = [f"{what} ({len(names)})" for what, names in missing.items() if names]
        return [*lines, f"- not compared: {', '.join(told) or 'nothing was left out'}; no other method or data set"]


def _per_cent(values: tuple[float, ...]) -> float:
    return round(100 * mean(values), 2)


def read_measures(files: str | None) -> Measures:
    """The reports of `evaluate --json-file` in a list separated by commas. Raises `UsageError` for other files."""
    reports = [_read(Path(name.strip())) for name in (files or "").split(",") if name.strip()]
    if not reports:
        return Measures()
    counted = [{row["name"]: row["iou"] for row in one["classes"] if row["iou"] is not None} for one in reports]
    names = [name for name in counted[0] if all(name in other for other in counted)]
    iou = {name: tuple(other[name] for other in counted) for name in names}
    return Measures(tuple(one["mean_iou"] for one in reports), iou, reports[0]["protocol"])


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_bytes(file))
    except OSError as error:
        raise UsageError(f"--measured: {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--measured: {file}: not JSON; give what evaluate --json-file wrote") from error
    try:
        right = isinstance(found["mean_iou"], float) and isinstance(found["protocol"], dict)
        right = right and all({"name", "iou"} <= row.keys() for row in found["classes"])
    except (KeyError, TypeError, AttributeError):
        right = False
    if not right:
        raise UsageError(f"--measured: {file}: no report of evaluate; give what evaluate --json-file wrote")
    report: dict[str, Any] = found
    return report
