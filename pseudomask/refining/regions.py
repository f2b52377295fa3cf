"""Classify class-agnostic regions by the maps: each region gets the mean score of each class within it.

The background is a constant plane, so the threshold does not change: a region gets the class with the highest mean if
that exceeds the threshold, and is background otherwise. Where regions overlap, such as an object and its parts, a
pixel gets the mean over its regions; a pixel in no region keeps its own scores. SEPL (Chen et al., 2023) assigns SAM's
masks by their overlap with the thresholded mask, which amounts to a mean of scores that are 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from pseudomask.refining.grid import scores_on_grid
from pseudomask.refining.refiner import Refined
from pseudomask.scores import ScoreMap

Region = np.ndarray
"""Indices of the region's pixels in the flattened grid, integers (p,)."""


class Source(Protocol):
    """A function that returns the regions of a photo."""

    def __call__(self, photo: np.ndarray, stride: int) -> Iterable[Region]:
        """Regions on the grid of this stride, (⌈H/stride⌉, ⌈W/stride⌉); they may overlap and leave pixels out."""
        ...


def assign(values: np.ndarray, regions: Iterable[Region]) -> np.ndarray:
    """Replace each pixel's scores, (n, h, w) float32, by the average of its regions' mean scores; the same shape."""
    flat = values.reshape(len(values), -1)
    total, covered = np.zeros(flat.shape), np.zeros(flat.shape[1], np.int32)
    for region in regions:
        if region.size:
            total[:, region] += flat[:, region].mean(1, dtype=np.float64)[:, None]
            covered[region] += 1
    found = np.where(covered > 0, total / np.maximum(covered, 1), flat).astype(np.float32)
    return np.clip(found, 0, 1).reshape(values.shape)


def refine_by(source: Source, side: int, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
    """Scores that follow the regions, at the stride that limits the long side to `side`, with the same threshold."""
    if not scores.classes:
        return Refined(scores, threshold)
    stride = -(-max(scores.size) // side)
    values = assign(scores_on_grid(scores, stride), source(photo, stride))
    return Refined(ScoreMap(scores.classes, values, scores.size, stride), threshold)


def regions_of(labels: np.ndarray) -> list[Region]:
    """The regions of a label map (h, w) of integers ≥ 0, one per value."""
    order = np.argsort(labels, axis=None, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels.ravel()))[:-1])


def region_of(mask: np.ndarray, stride: int) -> Region:
    """The region of a mask, bool (H, W), at another stride, sampled at the centre of each block."""
    rows, columns = (np.minimum(np.arange(0, side, stride) + stride // 2, side - 1) for side in mask.shape)
    return np.flatnonzero(mask[np.ix_(rows, columns)])


def sizes_differ(found: Sequence[int], photo: Sequence[int]) -> str:
    """Message for regions whose (H, W) differs from the photo's."""
    return f"its regions belong to a photo of {found[1]}x{found[0]}, not {photo[1]}x{photo[0]}"
