"""How well image-level scores rank: average precision, and the threshold of the best F1."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def average_precision(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Average precision of each class, float64 (C,) in [0, 1]; NaN where a class has no positive image.

    scores: (N, C), any scale, higher is more confident; targets: (N, C) of 0 and 1 (or bool). This is the area under
    the step curve: the sum over distinct scores of precision times the rise in recall, without
    interpolation. Equal scores count as one step, so the order of the images does not matter.
    Raises ValueError for other shapes, targets other than 0 and 1, or scores that are not finite.
    """
    values, positive = _checked(scores, targets, ndim=2)
    columns = [_class_average_precision(values[:, c], positive[:, c]) for c in range(values.shape[1])]
    return np.array(columns, np.float64)


def best_f1_threshold(scores: np.ndarray, targets: np.ndarray) -> float:
    """The threshold t for which `scores > t` has the highest F1; NaN where no target is positive.

    scores: (N,); targets: (N,) of 0 and 1. t lies halfway between two neighbouring scores, or just below the
    lowest. Of equally good thresholds the highest is taken. Raises ValueError as `average_precision` does.
    """
    values, positive = _checked(scores, targets, ndim=1)
    if not positive.any():
        return float("nan")
    steps, hits, found = _steps(values, positive)
    f1 = 2 * hits / (found + positive.sum())
    best = int(np.argmax(f1))  # the first of equals: steps go down from the highest score
    if best + 1 == len(steps):
        return float(np.nextafter(steps[best], -np.inf))
    upper, lower = float(steps[best]), float(steps[best + 1])
    middle = lower + (upper - lower) / 2
    return middle if middle < upper else lower


def chance_precision(photos: int, positive: int) -> float:
    """The average precision to expect of a random order (Bestgen, 2015): a little above the share of positives."""
    if photos == positive:
        return 1.0
    harmonic = float(np.sum(1 / np.arange(1, photos + 1)))
    return ((positive - 1) / (photos - 1) * (photos - harmonic) + harmonic) / photos


@lru_cache(maxsize=1024)
def lucky_precision(photos: int, positive: int) -> float:
    """The average precision that one random order in twenty reaches: what is no higher may be luck.

    The 95 % quantile of up to 2,000 random orders, always the same ones.
    """
    draws = min(2000, max(100, 400_000 // photos))
    rng = np.random.default_rng([photos, positive])
    truth = np.zeros(photos, np.uint8)
    truth[:positive] = 1
    shuffled = rng.permuted(np.tile(truth, (draws, 1)), axis=1)
    precision = shuffled.cumsum(1) / np.arange(1, photos + 1)
    return float(np.quantile((precision * shuffled).sum(1) / positive, 0.95, method="higher"))


def _class_average_precision(values: np.ndarray, positive: np.ndarray) -> float:
    if not positive.any():
        return float("nan")
    _, hits, found = _steps(values, positive)
    return float(np.sum(np.diff(hits, prepend=0) * hits / found) / positive.sum())


def _steps(values: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores from high to low; positives, and images, at or above each."""
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(positive[order], dtype=np.int64)[last]
    return ranked[last], hits, last + 1


def _checked(scores: np.ndarray, targets: np.ndarray, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(scores, np.float64), np.asarray(targets)
    if values.ndim != ndim or truth.shape != values.shape:
        raise ValueError(f"scores {values.shape} and targets {truth.shape} must be equal, with {ndim} axes")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("targets must be 0 or 1")
    return values, truth.astype(bool)
