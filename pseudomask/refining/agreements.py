"""Compare the threshold of a run with the one that `refine --threshold auto` would choose, on a few of its photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pseudomask.refining.auto_threshold import THRESHOLDS, photo_agreement, spread
from pseudomask.running.quality import Doubt
from pseudomask.scores import ScoreMap

MOST = 24
"""Photos that are looked at."""
_FEWEST = 8
_APART = 0.1
"""Thresholds that differ by less are not far apart."""
_WORSE = 0.5
"""A threshold is doubtful if its masks agree with the photos' colours less than this share of what the best one has."""


@dataclass
class Agreements:
    """How well the masks of each threshold follow the colours of some photos (`auto_threshold`).

    Attributes:
        keys: the photos that are looked at.
    """

    keys: frozenset[str] = frozenset()
    curves: dict[str, np.ndarray] = field(default_factory=dict)

    def choose(self, keys: Sequence[str]) -> None:
        """Choose the photos: at most `MOST`, evenly spaced."""
        self.keys = frozenset(keys[i] for i in spread(len(keys), MOST))

    def see(self, key: str, photo: np.ndarray, scores: ScoreMap) -> None:
        """Look at a photo, uint8 (H, W, 3), if it was chosen. Threads may call this side by side."""
        if key in self.keys and (found := photo_agreement(photo, scores)) is not None:
            self.curves[key] = found

    def doubts(self, used: float, masks: int) -> list[Doubt]:
        """The doubt about the threshold `used` for a number of masks, if there is one."""
        if len(self.curves) < _FEWEST:
            return []
        curves = np.stack(list(self.curves.values()))
        mean = curves.mean(0)
        best, own = int(mean.argmax()), int(np.abs(np.subtract(THRESHOLDS, used)).argmin())
        auto = THRESHOLDS[best]
        if abs(auto - used) < _APART or mean[own] >= _WORSE * mean[best]:
            return []
        worse = int((curves[:, own] < _WORSE * curves[:, best]).sum())
        text = (
            f"threshold {used:g} is far from the automatic one, {auto:g}: at {used:g}, {worse} of {len(curves)} "
            "sampled masks follow the photo's colours less than half as well; `refine --threshold auto` uses it"
        )
        return [Doubt("threshold", round(masks * worse / len(curves)), text)]
