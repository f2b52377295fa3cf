"""A background threshold from photos and scores alone: the one whose masks part the fewest pixels of like colour.

Neighbours of like colour should have one label. At each threshold t a photo has a mask of "some class here". It parts a
share of the pairs of near pixels, each pair weighing exp(−d/m): d is its difference of colour, m the mean of such
differences in the photo. Labels thrown at random, with the mask's area a, would part 2a(1 − a) of them. The quotient is
Geary's contiguity ratio (1954); 1 minus it is the neighbours' agreement: 1 where nothing is parted, 0 where no better
than chance and where a mask is constant, so that nearly full and nearly empty masks win nothing. The mean over the
photos decides.
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
"""Photos are reduced by a whole number, so that their long side is at most this."""
REACHES = (1, 2, 4)
"""Distances of a pair, in pixels of the reduced photo."""
AROUND = ((0, 1), (1, 0), (1, 1), (1, -1))


def neighbours(photo: np.ndarray, best: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Agreement of near pixels in the mask `best > t` at each t, corrected for chance: float64 (T,), at most 1.

    0 where the mask is all foreground or all background. `thresholds` ascend.

    Args:
        photo: float32 (h, w, 3), any scale: only ratios of differences matter.
        best: float32 (h, w), a photo's highest scores.
    """
    limits = np.asarray(thresholds, np.float32)
    above = np.searchsorted(limits, best, side="left")  # a pixel is above the thresholds 0..above-1
    parted, total = np.zeros(len(limits) + 1), 0.0
    for reach in REACHES:
        pairs = [_pairs(reach * y, reach * x, photo, above) for y, x in AROUND]
        apart = [np.abs(one - other).mean(2) for (one, other), _ in pairs]
        mean = sum(d.sum() for d in apart) / max(1, sum(d.size for d in apart)) or 1.0
        for d, (_, (one, other)) in zip(apart, pairs, strict=True):
            weights = np.exp(-d / mean).ravel()
            total += weights.sum()
            # Parted by the thresholds from the lower of the two up to below the higher.
            for end, sign in ((np.minimum(one, other), 1), (np.maximum(one, other), -1)):
                parted += sign * np.bincount(end.ravel(), weights, len(parted))
    areas = _areas(above, len(limits))
    chance = 2 * areas * (1 - areas) * total
    kept: np.ndarray = np.divide(parted.cumsum()[:-1], chance, out=np.ones(len(limits)), where=chance > 0)
    return 1 - kept


def _pairs(y: int, x: int, *planes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views of each (h, w, …): all pixels whose neighbour at (y, x) is inside, and those neighbours; y ≥ 0."""
    h, w = planes[0].shape[:2]
    rows, columns = max(0, h - y), max(0, w - abs(x))
    left, right = max(0, -x), max(0, x)
    return [(p[:rows, left : left + columns], p[y : y + rows, right : right + columns]) for p in planes]


def _areas(above: np.ndarray, count: int) -> np.ndarray:
    """Share of the pixels above each of `count` thresholds, from how many of them each pixel is above."""
    pixels = np.bincount(above.ravel(), minlength=count + 1)
    return pixels[::-1].cumsum()[::-1][1:] / above.size


def photo_agreement(photo: np.ndarray, scores: ScoreMap) -> np.ndarray | None:
    """One photo's agreement at `THRESHOLDS`; None where it has no class.

    Args:
        photo: uint8 (H, W, 3), of `scores.size`.
    """
    if not scores.classes:
        return None
    stride = -(-max(scores.size) // SIDE)
    return neighbours(shrink(photo, stride), scores_on_grid(scores, stride).max(0))


def choose(curves: Sequence[np.ndarray]) -> float:
    """The threshold of the highest mean agreement. Raises `UsageError` where no photo shows any."""
    mean = np.mean(curves, axis=0) if curves else np.zeros(1)
    if not mean.max() > 0:
        raise UsageError(f"--threshold auto: scores and colours agree in none of {len(curves)} photos; give a number")
    return THRESHOLDS[int(mean.argmax())]


@dataclass(frozen=True)
class Look:
    """What a worker does with a photo of the sample: its agreement, None where photo or scores cannot be used."""

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
    """At most `most` positions out of `count`, evenly spread: the same for the same set."""
    return sorted({(2 * i + 1) * count // (2 * most) for i in range(most)}) if count > most else list(range(count))
