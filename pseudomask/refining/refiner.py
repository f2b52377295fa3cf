"""What a refiner is: a small object that makes one photo's score map follow the photo."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from pseudomask.scores import ScoreMap


class Refined(NamedTuple):
    """A score map and the background's height in it; the mask is `scores.mask(threshold)`."""

    scores: ScoreMap
    threshold: float


class Refiner(Protocol):
    """One way to refine. It crosses processes, so it can be pickled; it holds no open files."""

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        """The refined scores of the same classes; a photo without classes passes through.

        Args:
            photo: (H, W, 3) uint8 RGB, oriented, of `scores.size`.
            scores: what `extract` or another refiner made.
            threshold: the background's height in `scores`, in [0, 1].
        """
        ...
