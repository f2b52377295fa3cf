"""All background thresholds in one pass over score maps.

A pixel belongs to its best class if that class's score is above the threshold, otherwise to background. So a histogram
over (truth, best class, number of thresholds below the score) contains the confusion table of every threshold, and
each table equals that of `ScoreMap.mask(threshold)` exactly.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pseudomask.errors import UsageError
from pseudomask.measuring.confusion import MAX_CLASSES, Counts, Measures, check_labels, compact, measure
from pseudomask.scores import ScoreMap, check_threshold

DEFAULT_THRESHOLDS: tuple[float, ...] = tuple(step / 100 for step in range(100))
_MAX_CELLS = 1 << 27  # of the histogram: 1 GiB


def checked_thresholds(thresholds: Iterable[float] | None) -> tuple[float, ...]:
    """Ascending thresholds without duplicates; None gives 0.00, 0.01, ..., 0.99.

    Raises UsageError for a threshold outside [0, 1] or an empty list.
    """
    chosen = DEFAULT_THRESHOLDS if thresholds is None else tuple(sorted({float(t) for t in thresholds}))
    if not chosen:
        raise UsageError("no threshold given")
    for threshold in chosen:
        check_threshold(threshold)
    return chosen


def count_scores(
    scores: ScoreMap,
    truth: np.ndarray,
    thresholds: tuple[float, ...],
    *,
    n_classes: int | None = None,
    ignore: int = 255,
) -> Counts:
    """The histogram of one image: `table` int64 (k, k, T + 1) over (truth, best class, thresholds below).

    thresholds: ascending (T,); truth: integer map of the image's size. Raises UsageError for sizes that
    differ and for labels that are not below `n_classes` (None: any).
    """
    if scores.size != truth.shape:
        raise UsageError(f"the scores have size {scores.size}, their truth {truth.shape}; they must be equal")
    check_labels(np.array(scores.classes, np.int64), "score file", n_classes)
    counted = truth.ravel() != ignore
    truth_labels = truth.ravel()[counted]
    check_labels(truth_labels, "truth", n_classes)
    value, best = (plane.ravel()[counted] for plane in scores.best())
    # Background must be among the labels: it is predicted wherever no score is high enough.
    labels, positions = compact(truth_labels, best, np.zeros(1, np.uint8))
    below = np.searchsorted(np.array(thresholds, np.float32), value, side="left")
    k, bins = len(labels), len(thresholds) + 1
    cells = (positions[truth_labels] * k + positions[best]) * bins + below
    ignored = (truth.size - len(truth_labels), 0)
    return Counts(labels, np.bincount(cells, minlength=k * k * bins).reshape(k, k, bins), ignored)


def tables(histogram: np.ndarray) -> np.ndarray:
    """Confusion tables, int64 (T, k, k), of a histogram (k, k, T + 1) whose class 0 is background."""
    # A best class of 0 (an image without classes) has score 0, which no threshold is below.
    below = np.cumsum(histogram, axis=2)  # [..., i]: pixels with score <= threshold i
    above = below[:, :, -1:] - below[:, :, :-1]
    out: np.ndarray = np.moveaxis(above, 2, 0).copy()
    out[:, :, 0] += below[:, :, :-1].sum(1).T
    return out


class Sweep:
    """Histogram over many images; `n_classes` with background; if None, it grows with the labels found."""

    def __init__(self, thresholds: Iterable[float] | None = None, n_classes: int | None = None) -> None:
        self.thresholds = checked_thresholds(thresholds)
        self.n_classes = n_classes
        self._check_cells(n_classes or 1)
        self.histogram = np.zeros((n_classes or 1, n_classes or 1, len(self.thresholds) + 1), np.int64)

    def update(self, scores: ScoreMap, truth: np.ndarray, ignore: int = 255) -> Counts:
        """Count one image (see `count_scores`) and return its own histogram."""
        counts = count_scores(scores, truth, self.thresholds, n_classes=self.n_classes, ignore=ignore)
        self.add(counts)
        return counts

    def add(self, counts: Counts) -> None:
        """Add one image's histogram."""
        grow = int(counts.labels[-1]) + 1 - len(self.histogram)
        if grow > 0:
            self._check_cells(len(self.histogram) + grow)
            self.histogram = np.pad(self.histogram, ((0, grow), (0, grow), (0, 0)))
        self.histogram[np.ix_(counts.labels, counts.labels)] += counts.table

    def table(self, index: int) -> np.ndarray:
        """The confusion table, int64 (n, n), at `thresholds[index]`."""
        out: np.ndarray = self.histogram[:, :, index + 1 :].sum(2)
        out[:, 0] += self.histogram[:, :, : index + 1].sum((1, 2))
        return out

    def curve(self) -> list[Measures]:
        """The measures at every threshold."""
        above = self.histogram.sum(2)
        background = np.zeros(len(above), np.int64)
        out = []
        for index in range(len(self.thresholds)):  # one table at a time: there may be a thousand classes
            falling = self.histogram[:, :, index]
            above -= falling
            background += falling.sum(1)
            table = above.copy()
            table[:, 0] += background
            out.append(measure(table))
        return out

    def _check_cells(self, classes: int) -> None:
        if classes > MAX_CLASSES or classes**2 * (len(self.thresholds) + 1) > _MAX_CELLS:
            count = len(self.thresholds)
            raise UsageError(f"{classes} classes at {count} thresholds need too much memory; give fewer thresholds")


def best_index(means: Iterable[float]) -> int:
    """Position of the highest mean IoU, the first of equals; NaN never wins against a number."""
    values = np.array(list(means), np.float64)
    return int(np.argmax(np.where(np.isnan(values), -1.0, values)))
