"""Confusion counts between label maps, and the measures computed from them.

Rows are truth, columns prediction. A pixel whose truth is the ignore index is not counted. A prediction of
the ignore index counts as background, so that ignoring hard pixels does not improve the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pseudomask.errors import UsageError
from pseudomask.measuring.values import advice

MAX_CLASSES = 4096  # a table of this many classes takes 128 MiB


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixels of one image: `table[..., i, j]` of truth `labels[i]` and prediction `labels[j]`.

    labels: ascending (k,), the labels in truth or prediction; table: int64 (k, k).
    ignored: pixels of the ignore index in truth and in prediction.
    odd_palettes: whether the palettes of the truth and prediction files contradict their pixels.
    """

    labels: np.ndarray
    table: np.ndarray
    ignored: tuple[int, int] = (0, 0)
    odd_palettes: tuple[bool, bool] = (False, False)


def count(pred: np.ndarray, truth: np.ndarray, *, n_classes: int | None = None, ignore: int = 255) -> Counts:
    """The counts of one image; `pred` and `truth` are integer maps of one shape (H, W).

    n_classes: number of classes with background; None accepts any. Raises UsageError for shapes that
    differ, floating-point maps, and values outside 0..n_classes-1 other than `ignore`.
    """
    check_maps(pred, truth)
    counted = truth.ravel() != ignore
    prediction = pred.ravel()
    ignored = int(np.count_nonzero(prediction == ignore))
    if ignored:
        prediction = np.where(prediction == ignore, 0, prediction)
    check_labels(prediction, "prediction", n_classes)
    truth_labels = truth.ravel()[counted]
    check_labels(truth_labels, "truth", n_classes)
    prediction = prediction[counted]
    labels, positions = compact(truth_labels, prediction)
    k = len(labels)
    cells = positions[truth_labels] * k + positions[prediction]
    table = np.bincount(cells, minlength=k * k).reshape(k, k)
    return Counts(labels, table, (truth.size - len(truth_labels), ignored))


def check_maps(pred: np.ndarray, truth: np.ndarray) -> None:
    """UsageError unless both are integer maps of one shape (H, W)."""
    if pred.shape != truth.shape:
        turned = "; one of them was not rotated according to the photo's EXIF data" * (pred.shape == truth.shape[::-1])
        raise UsageError(f"the prediction has size {pred.shape}, its truth {truth.shape}; they must be equal{turned}")
    for name, array in (("prediction", pred), ("truth", truth)):
        if array.ndim != 2 or array.dtype.kind not in "ui":
            raise UsageError(f"a {name} must be an integer map (H, W), not {array.dtype} {array.shape}")


def check_labels(values: np.ndarray, what: str, n_classes: int | None) -> None:
    """UsageError where a label is negative or not below the number of classes."""
    if values.size == 0:
        return
    low, high = int(values.min()), int(values.max())
    limit = MAX_CLASSES if n_classes is None else n_classes
    if low < 0 or high >= limit:
        wrong = low if low < 0 else high
        allowed = f"0..{limit - 1}" + ("" if n_classes is None else f" for {limit - 1} classes and background")
        raise UsageError(f"the {what} contains the value {wrong}, outside {allowed}; {advice(values, what, limit)}")


def compact(*maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels in any of the flat maps, ascending (k,), and a table from each label to its position among them."""
    size = 1 + max((int(values.max()) for values in maps if values.size), default=0)
    present = np.zeros(size, bool)
    for values in maps:
        present |= np.bincount(values.astype(np.intp, copy=False), minlength=size) > 0
    return np.flatnonzero(present), np.cumsum(present) - 1


class Confusion:
    """Counts over many images: `table[t, p]` pixels of truth t predicted as p, int64 (n, n).

    n_classes: number of classes with background; if None, the table grows with the labels found.
    """

    def __init__(self, n_classes: int | None = None) -> None:
        if n_classes is not None and not 1 <= n_classes <= MAX_CLASSES:
            raise UsageError(f"{n_classes} classes: at most {MAX_CLASSES} can be measured at once")
        self.n_classes = n_classes
        self.table = np.zeros((n_classes or 1,) * 2, np.int64)

    def update(self, pred: np.ndarray, truth: np.ndarray, ignore: int = 255) -> Counts:
        """Count one image (see `count`) and return its own counts."""
        counts = count(pred, truth, n_classes=self.n_classes, ignore=ignore)
        self.add(counts)
        return counts

    def add(self, counts: Counts) -> None:
        """Add one image's counts."""
        if counts.labels.size == 0:
            return
        grow = int(counts.labels[-1]) + 1 - len(self.table)
        if grow > 0:
            self.table = np.pad(self.table, (0, grow))
        self.table[np.ix_(counts.labels, counts.labels)] += counts.table

    def measures(self) -> Measures:
        """IoU and the other measures of the counts so far."""
        return measure(self.table)


@dataclass(frozen=True, eq=False)
class Measures:
    """Per class, float64 (..., n) in [0, 1]; NaN where the denominator is 0.

    iou = TP / union with union = TP + FP + FN; precision = TP / (TP + FP); recall = TP / (TP + FN);
    false_positive = FP / union and false_negative = FN / union, so iou + these two = 1.
    truth and predicted: pixels, int64 (..., n).
    """

    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    false_positive: np.ndarray
    false_negative: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray

    def absent(self) -> np.ndarray:
        """Classes in neither truth nor prediction, bool (..., n): they have no IoU."""
        none: np.ndarray = np.isnan(self.iou)
        return none

    def mean_iou(self, chosen: np.ndarray | None = None) -> np.ndarray:
        """Mean IoU, float64 (...), over the `chosen` classes (bool (n,)) that are not absent; NaN if none."""
        counted = ~self.absent() if chosen is None else ~self.absent() & chosen
        return _share(np.where(counted, self.iou, 0).sum(-1), counted.sum(-1))


def measure(table: np.ndarray) -> Measures:
    """The measures of confusion tables (..., n, n), rows truth."""
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    truth, predicted = table.sum(-1), table.sum(-2)
    union = truth + predicted - hits
    return Measures(
        iou=_share(hits, union),
        precision=_share(hits, predicted),
        recall=_share(hits, truth),
        false_positive=_share(predicted - hits, union),
        false_negative=_share(truth - hits, union),
        truth=truth,
        predicted=predicted,
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return share
