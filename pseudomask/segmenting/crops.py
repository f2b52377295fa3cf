"""Training crops of photos with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudomask.errors import ImageError, UsageError
from pseudomask.masks import ignore_index, load_mask
from pseudomask.scores import ScoreMap, load_scores
from pseudomask.training.samples import Crops

IGNORED = -1
"""The label of pixels that teach nothing."""


def labels_of(mask: np.ndarray, classes: int) -> np.ndarray:
    """A mask as labels, int32 (H, W): 0 background, IGNORED where the mask has its ignore index."""
    return np.where(mask == ignore_index(classes), IGNORED, mask.astype(np.int32))


def lead(scores: ScoreMap, threshold: float) -> np.ndarray:
    """By how much the best score of each pixel leads the next, float32 (H, W); the background scores `threshold`."""
    best = np.full(scores.size, threshold, np.float32)
    second = np.zeros(scores.size, np.float32) if scores.classes else best - 1
    for plane in scores.planes():
        second = np.maximum(second, np.minimum(best, plane))
        best = np.maximum(best, plane)
    return best - second


class MaskCrops(Crops):
    """With the photo's labels, (crop, crop) int32; what the crop adds around a photo is ignored.

    Args:
        masks, scores: files by photo; `scores` is empty if no pixel is ignored for its margin.
        classes: without the background.
        margin, threshold: pixels whose scores lead by at most `margin` are ignored.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        masks: Sequence[Path],
        *,
        classes: int,
        scores: Sequence[Path] = (),
        margin: float = 0.0,
        threshold: float = 0.5,
        **settings: Any,
    ) -> None:
        super().__init__(photos, **settings)
        self.masks, self.scores, self.classes = list(masks), list(scores), classes
        self.margin, self.threshold = margin, threshold

    def labels(self, photo: int, size: tuple[int, int]) -> np.ndarray:
        """int32 (H, W). Raises `ImageError` if mask and photo, or scores and photo, do not match."""
        mask = load_mask(self.masks[photo])
        if mask.shape != size:
            raise ImageError(self.paths[photo], "its mask has another size")
        labels = labels_of(mask, self.classes)
        if labels.max() > self.classes:
            raise ImageError(self.paths[photo], f"its mask holds class {labels.max()}")
        if self.scores:
            try:
                scores = load_scores(self.scores[photo])
            except UsageError as error:
                raise ImageError(self.paths[photo], str(error)) from error
            if scores.size != size:
                raise ImageError(self.paths[photo], "its scores have another size")
            labels[lead(scores, self.threshold) <= self.margin] = IGNORED
        return labels

    def drawn(self, photo: int, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        """Random long side, mirror and crop, the same for both."""
        labels = self.labels(photo, (image.shape[0], image.shape[1]))
        pixels, cut = self.both(image, labels, IGNORED, rng)
        return pixels, torch.from_numpy(cut)

    def no_truth(self) -> Tensor:
        return torch.full((self.crop, self.crop), IGNORED, dtype=torch.int32)
