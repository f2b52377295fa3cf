"""What a measurement found, with its protocol, as JSON, CSV, Markdown and table rows."""

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
from pseudomask.running.atomic import atomic_text
from pseudomask.running.jsonable import jsonable

SCHEMA = 1
HEADER = ("class", "IoU", "precision", "recall", "false pos.", "false neg.")


@dataclass(frozen=True)
class Protocol:
    """How the number came about; printed beside it.

    images: pairs measured; listed: name of the list file, or None for all pairs found.
    threshold: the background threshold, None where masks do not tell theirs; threshold_source: "given",
    "chosen on this truth" (the best of several, so optimistic for these images) or "from the masks".
    absent: classes of the mean that are in neither truth nor prediction, hence left out.
    not_in_mean: classes that the caller left out. without_truth, without_prediction: keys not measured.
    threshold_chosen: of masks, who chose theirs, as their record says. classes_named: whether there is a class list.
    truth_read_as, predictions_read_as: what the files' numbers or colours were taken for.
    ignored_share, predicted_ignored_share: of the pixels of truth and of masks, in [0, 1].
    images_without_counted_pixels: images that are ignored throughout.
    """

    images: int
    kind: str
    listed: str | None
    threshold: float | None
    threshold_source: str
    thresholds_tried: int
    ignore: str
    resolution: str
    classes_in_mean: tuple[str, ...]
    absent: tuple[str, ...]
    not_in_mean: tuple[str, ...]
    without_truth: tuple[str, ...]
    without_prediction: tuple[str, ...]
    threshold_chosen: str = ""
    classes_named: bool = True
    truth_read_as: str = "class indices"
    predictions_read_as: str = "class indices"
    ignored_share: float = 0.0
    predicted_ignored_share: float = 0.0
    images_without_counted_pixels: int = 0

    def lines(self) -> list[tuple[str, str]]:
        """(label, value) for people; long lists are counted, not printed."""
        threshold = "" if self.threshold is None else f"{self.threshold:g}, "
        tried = f" among {self.thresholds_tried}" if self.thresholds_tried > 1 else ""
        by = f" ({self.threshold_chosen})" if self.threshold_chosen else ""
        ignored = f" ({100 * self.ignored_share:.1f} % of the pixels)" if self.ignored_share else ""
        out = [
            ("images", f"{self.images} ({'all pairs found' if self.listed is None else self.listed})"),
            ("measured", self.kind),
            ("threshold", f"{threshold}{self.threshold_source}{by}{tried}"),
            ("ignore", f"{self.ignore}{ignored}"),
            ("resolution", self.resolution),
            ("classes in mean", f"{len(self.classes_in_mean)}: {_some(self.classes_in_mean)}"),
        ]
        for label, read_as in (("truth", self.truth_read_as), ("predictions", self.predictions_read_as)):
            if read_as != "class indices":
                out.append((f"{label} read as", read_as))
        if self.absent and self.classes_named:
            out.append(("absent, left out", f"{len(self.absent)}: {_some(self.absent)}"))
        if self.without_truth:
            out.append(("without truth", f"{len(self.without_truth)}: {_some(self.without_truth, 3)}"))
        if self.without_prediction:
            lost = self.without_prediction
            out.append(("without prediction", f"{len(lost)}: {_some(lost, 3)}"))
        return out


@dataclass(frozen=True)
class ClassRow:
    """One class; shares in [0, 1] as in `Measures`, NaN where undefined; pixels are counts."""

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
    """One image: mean IoU over the classes of the mean that are in its truth or prediction (NaN: none is)."""

    key: str
    iou: float
    pixels: int


@dataclass(frozen=True, slots=True)
class Parts:
    """One image's classes, in its truth or prediction, and the IoU of each there."""

    classes: tuple[int, ...]
    ious: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Where a report's images are, in its order, and what reads them: for pages that show them."""

    pairs: tuple[Pair, ...]
    counter: PairCounter


@dataclass(frozen=True)
class Swap:
    """Pixels of one class taken for another; `share` of the true class's pixels."""

    truth: str
    predicted: str
    pixels: int
    share: float


@dataclass(frozen=True, eq=False)
class Report:
    """A measurement.

    confusion: int64 (n, n), rows truth; curve: (threshold, mean IoU), empty for masks; doubts: why the number may not
    mean what it seems to; parts: in the order of `images`, none unless they were asked for.
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
        """Table rows under `HEADER`, in per cent, the mean last; a class outside the mean is in brackets."""
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
        result: dict[str, Any] = jsonable(document)
        return result

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
            rows3 = [(f"{threshold:g}", _percent(mean)) for threshold, mean in best]
            lines += ["", *_table(("threshold", "mean IoU"), rows3)]
        return "\n".join(lines) + "\n"

    def headline(self) -> str:
        """The number and the classes that it is a mean of, on one line."""
        return f"mean IoU {_percent(self.mean_iou)} {self.over()}"

    def over(self) -> str:
        """How many classes the mean is over, and which ones of the class list it leaves out for want of a pixel."""
        absent = self.protocol.absent if self.protocol.classes_named else ()
        if not absent:
            return f"over {self._counted()} class{'es' * (self._counted() != 1)}"
        of = self._counted() + len(absent)
        return f"over {self._counted()} of {of} classes; in neither truth nor prediction: {_some(absent)}"

    def _counted(self) -> int:
        return sum(row.in_mean and not math.isnan(row.iou) for row in self.classes)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _some(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


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
