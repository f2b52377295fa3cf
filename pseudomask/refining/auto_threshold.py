"""Choose a background threshold without ground truth: the one whose masks split the fewest similar pixel pairs.

Neighbouring pixels of similar colour should share a label. Each threshold t gives a photo a mask of "some class here",
which splits a share of the pairs of nearby pixels. A pair weighs exp(−d/m), where d is its colour difference and m the
photo's mean difference. Random labels covering the same area a would split a share of 2a(1 − a). The ratio of the two
is Geary's contiguity ratio (1954). Agreement is 1 minus this ratio: 1 if no pair is split, 0 at chance level. It is
also 0 for a constant mask, so nearly full and nearly empty masks gain nothing. The threshold with the highest mean
agreement over the photos wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pseudomask.errors import ImageError, UsageError
from pseudomask.refining.grid import scores_on_grid, shrink
from pseudomask.refining.work import Job, read_pair
from pseudomask.scores import ScoreMap

THRESHOLDS = tuple(step / 100 for step in range(1, 100))
SIDE = 160
"""Photos are downscaled by an integer factor so that their long side is at most this many pixels."""
REACHES = (1, 2, 4)
"""Distances between the pixels of a pair, in pixels of the downscaled photo."""
AROUND = ((0, 1), (1, 0), (1, 1), (1, -1))


def neighbours(photo: np.ndarray, best: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Chance-corrected agreement of nearby pixels in the mask `best > t` for each t: float64 (T,), at most 1.

    It is 0 where the mask is all foreground or all background. `thresholds` must be ascending.

    Args:
        photo: float32 (h, w, 3), at any scale: only ratios of differences matter.
        best: float32 (h, w), the highest score at each pixel.
    """
    limits = np.asarray(thresholds, np.float32)
    above = np.searchsorted(limits, best, side="left")  # a pixel exceeds thresholds 0..above-1
    parted, total = np.zeros(len(limits) + 1), 0.0
    for reach in REACHES:
        pairs = [_pairs(reach * y, reach * x, photo, above) for y, x in AROUND]
        apart = [np.abs(one - other).mean(2) for (one, other), _ in pairs]
        mean = sum(d.sum() for d in apart) / max(1, sum(d.size for d in apart)) or 1.0
        for d, (_, (one, other)) in zip(apart, pairs, strict=True):
            weights = np.exp(-d / mean).ravel()
            total += weights.sum()
            # A pair is split by every threshold from the lower of its two values up to, but excluding, the higher.
            for end, sign in ((np.minimum(one, other), 1), (np.maximum(one, other), -1)):
                parted += sign * np.bincount(end.ravel(), weights, len(parted))
    areas = _areas(above, len(limits))
    chance = 2 * areas * (1 - areas) * total
    kept: np.ndarray = np.divide(parted.cumsum()[:-1], chance, out=np.ones(len(limits)), where=chance > 0)
    return 1 - kept


def _pairs(y: int, x: int, *planes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views of each (h, w, …): the pixels whose neighbour at offset (y, x) is inside, and those neighbours; y ≥ 0."""
    h, w = planes[0].shape[:2]
    rows, columns = max(0, h - y), max(0, w - abs(x))
    left, right = max(0, -x), max(0, x)
    return [(p[:rows, left : left + columns], p[y : y + rows, right : right + columns]) for p in planes]


def _areas(above: np.ndarray, count: int) -> np.ndarray:
    """Share of pixels above each of `count` thresholds, given how many thresholds each pixel exceeds."""
    pixels = np.bincount(above.ravel(), minlength=count + 1)
    return pixels[::-1].cumsum()[::-1][1:] / above.size


def photo_agreement(photo: np.ndarray, scores: ScoreMap) -> np.ndarray | None:
    """Agreement of one photo at each of `THRESHOLDS`; None if it has no classes.

    Args:
        photo: uint8 (H, W, 3), of `scores.size`.
    """
    if not scores.classes:
        return None
    stride = -(-max(scores.size) // SIDE)
    return neighbours(shrink(photo, stride), scores_on_grid(scores, stride).max(0))


def choose(curves: Sequence[np.ndarray]) -> float:
    """The threshold with the highest mean agreement. Raises `UsageError` if that mean is positive at no threshold."""
    mean = np.mean(curves, axis=0) if curves else np.zeros(1)
    if not mean.max() > 0:
        raise UsageError(f"--threshold auto: scores and colours agree in none of {len(curves)} photos; give a number")
    return THRESHOLDS[int(mean.argmax())]


@dataclass(frozen=True)
class Look:
    """The task a worker runs on a sampled photo: its agreement, or None if the photo or its scores are unusable."""

    classes: int
    max_pixels: int
    allow_truncated: bool

    def __call__(self, job: Job) -> np.ndarray | None:
        try:
            photo, scores = read_pair(
                job, self.classes, max_pixels=self.max_pixels, allow_truncated=self.allow_truncated
            )
        except ImageError:
            return None
        return photo_agreement(photo, scores)


def spread(count: int, most: int) -> list[int]:
    """At most `most` evenly spaced positions out of `count`; deterministic."""
    return sorted({(2 * i + 1) * count // (2 * most) for i in range(most)}) if count > most else list(range(count))
