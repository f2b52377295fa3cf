"""Class-agnostic regions take their class from the maps: each region the mean score of each class within it.

The background is a constant plane, so the threshold stays what it was: a region's class is the one with the highest
mean if that is above the threshold, else it is background. Where regions overlap, as an object and its parts do, a
pixel takes the mean over its regions; one in no region keeps its own scores. SEPL (Chen et al., 2023) assigns SAM's
masks by their overlap with the thresholded mask, which is a mean of scores that are 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from pseudomask.refining.grid import scores_on_grid
from pseudomask.refining.refiner import Refined
from pseudomask.scores import ScoreMap

Region = np.ndarray
"""Positions of its pixels in the flattened grid, integers (p,)."""


class Source(Protocol):
    """Where the regions of a photo come from."""

    def __call__(self, photo: np.ndarray, stride: int) -> Iterable[Region]:
        """Regions on the grid of this stride, (⌈H/stride⌉, ⌈W/stride⌉); they may overlap and leave pixels out."""
        ...


def assign(values: np.ndarray, regions: Iterable[Region]) -> np.ndarray:
    """Scores (n, h, w) float32 → the mean over each pixel's regions of the region's mean; the same shape."""
    flat = values.reshape(len(values), -1)
    total, covered = np.zeros(flat.shape), np.zeros(flat.shape[1], np.int32)
    for region in regions:
        if region.size:
            total[:, region] += flat[:, region].mean(1, dtype=np.float64)[:, None]
            covered[region] += 1
    found = np.where(covered > 0, total / np.maximum(covered, 1), flat).astype(np.float32)
    return np.clip(found, 0, 1).reshape(values.shape)


def refine_by(source: Source, side: int, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
    """Scores that follow the regions, at the stride that brings the long side to at most `side`; the same threshold."""
    if not scores.classes:
        return Refined(scores, threshold)
    stride = -(-max(scores.size) // side)
    values = assign(scores_on_grid(scores, stride), source(photo, stride))
    return Refined(ScoreMap(scores.classes, values, scores.size, stride), threshold)


def regions_of(labels: np.ndarray) -> list[Region]:
    """The regions of a label map (h, w) of integers ≥ 0, one for each value."""
    order = np.argsort(labels, axis=None, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels.ravel()))[:-1])


def region_of(mask: np.ndarray, stride: int) -> Region:
    """The region of a mask, bool (H, W), at another stride: the values at the middle of each block."""
    rows, columns = (np.minimum(np.arange(0, side, stride) + stride // 2, side - 1) for side in mask.shape)
    return np.flatnonzero(mask[np.ix_(rows, columns)])


def sizes_differ(found: Sequence[int], photo: Sequence[int]) -> str:
    """What to say of regions whose (H, W) is not the photo's."""
    return f"its regions belong to a photo of {found[1]}x{found[0]}, not {photo[1]}x{photo[0]}"
