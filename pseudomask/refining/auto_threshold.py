"""A background threshold from photos and scores alone: the one at which the masks agree best with their refinement.

Scores are refined once by PAMR, which is linear and so does not depend on the threshold. At each threshold t a photo
then has two masks of "some class here", before and after. Where t cuts through what the photo shows, the two differ
along the whole cut, as refinement moves it to the next edge; where t is at the edges already, they agree.

Plain agreement is trivially high at both ends, where nearly all or nearly nothing is foreground. So it is corrected for
chance (Cohen's kappa): 0 where a mask is constant or the two only agree as much as their areas make them. And it is
taken in each photo before the mean: over a set, full and empty photos would agree for no reason of edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pseudomask.errors import ImageError, UsageError
from pseudomask.refining.grid import scores_on_grid
from pseudomask.refining.pamr import Pamr
from pseudomask.refining.work import Job, Step, read_pair, refine_one
from pseudomask.scores import ScoreMap

THRESHOLDS = tuple(step / 100 for step in range(1, 100))
REFINER = Pamr()


def agreement(before: np.ndarray, after: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Cohen's kappa between `before > t` and `after > t` at each t: two float (h, w) → float64 (T,) in [−1, 1].

    0 where one of the two is all foreground or all background. `thresholds` ascend.
    """
    limits = np.asarray(thresholds, np.float32)
    bins = len(limits) + 1
    x, y = (np.searchsorted(limits, plane.ravel(), side="left") for plane in (before, after))
    joint = np.bincount(x * bins + y, minlength=bins * bins).reshape(bins, bins)
    # A pixel of bin b is above the thresholds 0..b-1; [i] counts the pixels above threshold i.
    both = joint[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1].diagonal()[1:] / before.size
    one, other = (joint.sum(axis)[::-1].cumsum()[::-1][1:] / before.size for axis in (1, 0))
    observed = 1 - one - other + 2 * both
    chance = one * other + (1 - one) * (1 - other)
    constant = (one * (1 - one) == 0) | (other * (1 - other) == 0)
    return np.divide(observed - chance, 1 - chance, out=np.zeros(len(limits)), where=~constant)


def photo_agreement(photo: np.ndarray, scores: ScoreMap) -> np.ndarray | None:
    """One photo's agreement at `THRESHOLDS`; None where it has no class.

    Args:
        photo: uint8 (H, W, 3), of `scores.size`.
    """
    if not scores.classes:
        return None
    refined = REFINER.refine(photo, scores, 0.5).scores
    return agreement(scores_on_grid(scores, refined.stride).max(0), refined.values.max(0))


def choose(curves: Sequence[np.ndarray]) -> float:
    """The threshold of the highest mean agreement. Raises `UsageError` where no photo shows any."""
    mean = np.mean(curves, axis=0) if curves else np.zeros(1)
    if not mean.max() > 0:
        raise UsageError(
            f"--threshold auto: in none of {len(curves)} photos do scores and edges agree; give --threshold a number"
        )
    return THRESHOLDS[int(mean.argmax())]


@dataclass(frozen=True)
class Look:
    """What a worker does with a photo of the sample; None where the photo or its scores cannot be used.

    With `steps` it is what they make of the scores that is looked at.
    """

    classes: int
    max_pixels: int
    allow_truncated: bool
    steps: tuple[Step, ...] = ()
    threshold: float = 0.5

    def __call__(self, job: Job) -> np.ndarray | None:
        try:
            photo, scores = read_pair(
                job, self.classes, max_pixels=self.max_pixels, allow_truncated=self.allow_truncated
            )
            return photo_agreement(photo, refine_one(self.steps, photo, scores, self.threshold).scores)
        except ImageError:
            return None


def spread(count: int, most: int) -> list[int]:
    """At most `most` positions out of `count`, evenly spread: the same for the same set."""
    return sorted({(2 * i + 1) * count // (2 * most) for i in range(most)}) if count > most else list(range(count))
