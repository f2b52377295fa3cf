"""Photos and scores on a common coarse grid, where each pixel is the mean of a stride × stride block of the photo."""

from __future__ import annotations

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from pseudomask.scores import ScoreMap


def shrink(image: np.ndarray, stride: int) -> np.ndarray:
    """Block means, (H, W[, C]) → float32 (⌈H/stride⌉, ⌈W/stride⌉[, C]), padded by repeating the last row and column.

    This is the grid of a `ScoreMap` with this stride.
    """
    if stride == 1:
        return image.astype(np.float32)
    h, w = (-(-side // stride) for side in image.shape[:2])
    below, right = h * stride - image.shape[0], w * stride - image.shape[1]
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return cv2.resize(padded.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)


def scores_on_grid(scores: ScoreMap, stride: int) -> np.ndarray:
    """Resample the score planes to another stride: float32 (n, ⌈H/stride⌉, ⌈W/stride⌉)."""
    if stride == scores.stride:
        return scores.values.copy()
    h, w = (-(-side // stride) for side in scores.size)
    out = np.empty((len(scores.classes), h, w), np.float32)
    for i, plane in enumerate(scores.planes()):
        out[i] = shrink(plane, stride)
    return out


def on_grid(planes: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Resize planes of a photo of `size` to this stride: (n, h, w) → (n, ⌈H/stride⌉, ⌈W/stride⌉), bilinear."""
    grid = (-(-size[0] // stride), -(-size[1] // stride))
    if planes.shape[1:] == grid:
        return planes
    return F.interpolate(planes[None], grid, mode="bilinear", align_corners=False)[0]


def scaled(scores: ScoreMap, values: np.ndarray, stride: int) -> ScoreMap:
    """Divide the planes by their highest value at the photo's size, and clip anything above 1.

    Args:
        scores: the score map whose classes and size apply.
        values: (n, h, w), ≥ 0, not all 0.
    """
    unit = ScoreMap(scores.classes, (values / values.max()).astype(np.float32), scores.size, stride)
    highest = max(float(plane.max()) for plane in unit.planes())
    return ScoreMap(unit.classes, np.minimum(unit.values / np.float32(highest), 1), unit.size, stride)
