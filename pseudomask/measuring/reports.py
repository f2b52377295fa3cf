"""The result of a measurement, with its protocol, as JSON, CSV, Markdown and table rows."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pseudomask.measuring.counting import PairCounter
from pseudomask.measuring.doubts import Doubt
from pseudomask.measuring.pairing import Pair
from pseudomask.measuring.protocol import Protocol
from pseudomask.quoting import count, listed
from pseudomask.running.atomic import atomic_text
from pseudomask.running.jsonable import json_object, jsonable

SCHEMA = 1
HEADER = ("class", "IoU", "precision", "recall", "false pos.", "false neg.")


@dataclass(frozen=True)
class ClassRow:
    """One class: shares in [0, 1] as in `Measures`, NaN if undefined; numbers of pixels."""

    index: int
    name: str
    iou: float
    precision: float
    recall: float
    false_positive: float
    false_negative: float
    truth_pixels: int
    predicted_pixels: int
    in_mean: bool


@dataclass(frozen=True)
class ImageRow:
    """One image: mean IoU over the classes of the mean in its truth or prediction (NaN if there are none)."""

    key: str
    iou: float
    pixels: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes in one image's truth or prediction, and the IoU of each."""

    classes: tuple[int, ...]
    ious: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The files behind a report, in its order, and what reads them: for pages that show them."""

    pairs: tuple[Pair, ...]
    counter: PairCounter


@dataclass(frozen=True)
class Swap:
    """Pixels of one class predicted as another; `share` of the true class's pixels."""

    truth: str
    predicted: str
    pixels: int
    share: float


@dataclass(frozen=True, eq=False)
class Report:
    """A measurement.

    confusion: int64 (n, n), rows truth; curve: (threshold, mean IoU), empty for masks; doubts: why the result may be
    misleading; parts: in the order of `images`, empty unless requested.
    """

    mean_iou: float
    pixel_accuracy: float
    classes: tuple[ClassRow, ...]
    images: tuple[ImageRow, ...]
    confusion: np.ndarray
    curve: tuple[tuple[float, float], ...]
    protocol: Protocol
    doubts: tuple[Doubt, ...] = ()
    parts: tuple[Parts, ...] = ()
    evidence: Evidence | None = None

    def swaps(self, most: int = 10) -> list[Swap]:
        """The largest off-diagonal counts, largest first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        names = [row.name for row in self.classes]
        out = []
        for truth, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
            pixels = int(wrong[truth, predicted])
            if pixels:
                share = pixels / int(self.confusion[truth].sum())
                out.append(Swap(names[truth], names[predicted], pixels, share))
        return out

    def rows(self) -> list[tuple[str, ...]]:
        """Table rows under `HEADER`, in per cent, the mean last; classes outside the mean are in brackets."""
        rows = []
        for row in self.classes:
            values = (row.iou, row.precision, row.recall, row.false_positive, row.false_negative)
            name = row.name if row.in_mean else f"({row.name})"
            rows.append((name, *(_percent(value) for value in values)))
        return [*rows, (f"mean of {self._counted()}", _percent(self.mean_iou), "", "", "", "")]

    def to_json(self) -> dict[str, Any]:
        """A document for programs; undefined shares are null, shares are in [0, 1]."""
        document = {
            "schema": SCHEMA,
            "mean_iou": self.mean_iou,
            "pixel_accuracy": self.pixel_accuracy,
            "warnings": [asdict(doubt) for doubt in self.doubts],
            "protocol": asdict(self.protocol),
            "classes": [asdict(row) for row in self.classes],
            "swaps": [asdict(swap) for swap in self.swaps()],
            "curve": [{"threshold": threshold, "mean_iou": mean} for threshold, mean in self.curve],
            "confusion": self.confusion.tolist(),
            "images": [asdict(row) for row in self.images],
        }
        return json_object(document)

    def to_csv(self, path: Path) -> None:
        """Write a line per class."""
        _write_csv(path, [asdict(row) for row in self.classes], list(ClassRow.__dataclass_fields__))

    def images_to_csv(self, path: Path) -> None:
        """Write a line per image."""
        _write_csv(path, [asdict(row) for row in self.images], list(ImageRow.__dataclass_fields__))

    def to_markdown(self) -> str:
        """The table, its protocol, the largest confusions and the curve's best thresholds."""
        lines = [f"**mean IoU {_percent(self.mean_iou)}** {_cell(self.over())}", ""]
        lines += [f"> **Warning:** {_cell(doubt.text)}\n" for doubt in self.doubts]
        lines += [f"- {label}: {_cell(value)}" for label, value in self.protocol.lines()]
        lines += ["", *_table(HEADER, self.rows())]
        swaps = self.swaps()
        if swaps:
            rows = [(s.truth, s.predicted, _percent(s.share)) for s in swaps]
            lines += ["", *_table(("truth", "taken for", "share of the truth"), rows)]
        if len(self.curve) > 1:
            best = sorted(self.curve, key=lambda point: -point[1])[:5]
            lines += ["", *_table(("threshold", "mean IoU"), [(f"{point:g}", _percent(mean)) for point, mean in best])]
        return "\n".join(lines) + "\n"

    def headline(self) -> str:
        """The mean IoU and the number of classes, on one line."""
        return f"mean IoU {_percent(self.mean_iou)} {self.over()}"

    def over(self) -> str:
        """The number of classes in the mean, and the classes of the class list that have no pixel."""
        absent, counted = self.protocol.absent if self.protocol.classes_named else (), self._counted()
        if not absent:
            return f"over {count(counted, 'class')}"
        total = count(counted + len(absent), "class")
        return f"over {counted} of {total}; in neither truth nor prediction: {listed(absent, 8)}"

    def _counted(self) -> int:
        return sum(row.in_mean and not math.isnan(row.iou) for row in self.classes)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(header: tuple[str, ...], rows: list[Any]) -> list[str]:
    line = "|" + " --- |" + " ---: |" * (len(header) - 1)
    body = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in (header, *rows)]
    return [body[0], line, *body[1:]]


def _write_csv(path: Path, rows: list[dict[str, Any]], fields: list[str]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else value for key, value in jsonable(row).items()})
    atomic_text(path, text.getvalue())
