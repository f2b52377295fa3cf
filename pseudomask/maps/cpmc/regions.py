"""S3, disagreement regions: where the classifier's map and the prototype map contradict each other.

Evidence. Abstract: false-negative and false-positive regions are extracted from "the previous two" maps. Ours:
the sets themselves. Which map is assumed to be wrong is the *reading*, `CalibTarget`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_POSITIONS = 4
LEAST_SHARE = 0.005
"""Regions smaller than 4 positions or 0.5 % of the grid are dropped: their mean would describe only a detail."""


@dataclass(frozen=True)
class Regions:
    """What the map to be calibrated misses (`negative`) and wrongly shows (`positive`): (B, N, h, w) bool, disjoint."""

    negative: Tensor
    positive: Tensor


def between_thresholds(target: Tensor, other: Tensor, *, high: float, low: float) -> Regions:
    """FN = {other ≥ high, target < low}, FP = {target ≥ high, other < low}.

    Swapping the two maps swaps the two sets. With high ≥ low they are disjoint.

    Args:
        target: (B, N, h, w) in [0, 1], the map to be calibrated; other: the one it is compared with.
    """
    return Regions((other >= high) & (target < low), (target >= high) & (other < low))


def between_seeds(target: Tensor, other: Tensor, places: int) -> Regions:
    """The threshold-free reading: FN_c = {other says c, target background}, FP_c = {target c, other background}.

    Args:
        target, other: (B, h, w) int64, see `prototypes.seeds`; places: N.
    """
    return Regions(
        _planes((target == 0) * other, places),
        _planes((other == 0) * target, places),
    )


def _planes(labels: Tensor, places: int) -> Tensor:
    """(B, h, w) int64 with 0 for none → (B, N, h, w) bool."""
    number = torch.arange(1, places + 1, device=labels.device)[:, None, None]
    return labels[:, None] == number


def without_small(regions: Tensor) -> Tensor:
    """Empty the regions that are too small to represent a part: (B, N, h, w) bool → same."""
    least = max(LEAST_POSITIONS, LEAST_SHARE * regions.shape[-2] * regions.shape[-1])
    return regions & (regions.sum((-2, -1), keepdim=True) >= least)
