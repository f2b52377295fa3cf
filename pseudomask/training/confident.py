"""Confident labels from seeds: the pixels on which two masks agree (IRN, Ahn et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudomask.errors import ImageError
from pseudomask.masks import load_mask, save_mask
from pseudomask.networks.edges import EDGE_STRIDE
from pseudomask.refining.refiner import Refined, Refiner
from pseudomask.refining.work import Job, read_pair
from pseudomask.running.halving import OUT_OF_MEMORY, memory_errors
from pseudomask.scores import ScoreMap
from pseudomask.training.samples import Crops

MAX_PIXELS = 200_000_000
ABOVE, BELOW = 0.12, 0.10
"""What ReCAM's author told users to add to and take from the seeds' threshold (0.10 to 0.15, and 0.10)."""


def confident_thresholds(threshold: float) -> tuple[float, float]:
    """Foreground's and background's, around the seeds' own; never more than half the way to 1 and to 0."""
    return min(threshold + ABOVE, (1 + threshold) / 2), max(threshold - BELOW, threshold / 2)


def confident_labels(
    photo: np.ndarray, scores: ScoreMap, foreground: float, background: float, refiner: Refiner | None
) -> np.ndarray:
    """The class where the mask at `foreground` has one, 0 where both masks are background, else ignore (255).

    Args:
        photo: (H, W, 3) uint8.
        foreground, background: thresholds of the scores; foreground is the higher one.
        refiner: makes each mask follow the photo first; None: as they are.

    Returns:
        (H, W) uint8, or uint16 with ignore 65,535 where a class index is above 254.
    """

    def mask(threshold: float) -> np.ndarray:
        made = Refined(scores, threshold) if refiner is None else refiner.refine(photo, scores, threshold)
        return made.scores.mask(made.threshold)

    sure, possible = mask(foreground), mask(background)
    labels = np.where(sure > 0, sure, np.iinfo(sure.dtype).max)
    labels[(sure == 0) & (possible == 0)] = 0
    return labels


@dataclass(frozen=True)
class LabelWork:
    """Write the labels of one photo, in a worker. Returns "" or the problem.

    Attributes:
        teacher: refines the scores, with the background `threshold`, before they are cut; the two thresholds then
            follow from its own.
    """

    classes: int
    foreground: float
    background: float
    refiner: Refiner | None
    teacher: Refiner | None = None
    threshold: float = 0.0

    def __call__(self, job: Job) -> str:
        try:
            photo, scores = read_pair(job, self.classes, max_pixels=MAX_PIXELS, allow_truncated=False)
            with memory_errors():
                above, below = self.foreground, self.background
                if self.teacher is not None:
                    scores, level = self.teacher.refine(photo, scores, self.threshold)
                    above, below = confident_thresholds(level)
                labels = confident_labels(photo, scores, above, below, self.refiner)
        except ImageError as error:
            return error.reason
        except OUT_OF_MEMORY:
            return "not enough memory to label it"
        save_mask(job.outputs.mask, labels)
        return ""


class LabelledCrops(Crops):
    """With the photo's labels, (⌈crop/4⌉, ⌈crop/4⌉) int32, one for each position of the network's output.

    0 is ignore, 1 background, k + 1 the class of mask index k. A photo without labels counts as unreadable.
    """

    def __init__(self, photos: Sequence[Path], labels: Sequence[Path], **settings: Any) -> None:
        super().__init__(photos, **settings)
        self.labels = list(labels)
        # The pixel nearest to the centre of each 4 × 4 block.
        self.at = np.minimum(np.arange(EDGE_STRIDE // 2, self.crop + EDGE_STRIDE // 2, EDGE_STRIDE), self.crop - 1)

    def drawn(self, photo: int, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        """Random long side, mirror and crop, the same for both."""
        if not self.labels[photo].exists():
            raise ImageError(self.paths[photo], "it has no confident labels")
        labels = load_mask(self.labels[photo])
        if labels.shape != image.shape[:2]:
            raise ImageError(self.paths[photo], "its confident labels have another size")
        # One more than the index, so that ignore is 0: what the crop adds around a photo too.
        known = np.where(labels == np.iinfo(labels.dtype).max, 0, labels.astype(np.int32) + 1)
        pixels, cut = self.both(image, known, 0, rng)
        return pixels, torch.from_numpy(cut[np.ix_(self.at, self.at)])

    def no_truth(self) -> Tensor:
        return torch.zeros(len(self.at), len(self.at), dtype=torch.int32)
