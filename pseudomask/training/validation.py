"""How well a classifier tells the tags of held-out photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pseudomask.data.decoding import decode
from pseudomask.data.pixels import resize, to_input, with_long_side
from pseudomask.data.reading import AS_IT_COMES, Reading
from pseudomask.errors import ImageError
from pseudomask.measuring.average_precision import average_precision, best_f1_threshold
from pseudomask.networks.network import CamNetwork
from pseudomask.running.helpers import stand_back
from pseudomask.training.losses import classification_loss

MAX_SIDE = 640
"""Photos are seen whole, reduced to this long side at most: as `extract` sees them at scale 1."""


LEAST_CONFIDENCE = 0.3
"""A class less probable than this is not one the classifier is sure of, whatever few photos suggest."""


@dataclass(frozen=True)
class Validation:
    """Measures on held-out photos.

    Attributes:
        loss: mean binary cross-entropy.
        precision: average precision by class name; classes without a positive photo are left out.
        tag_thresholds: (C,) the probability of the best F1 per class, where the held-out photos show the
            class at least twice, else 0.5; never below `LEAST_CONFIDENCE`.
    """

    loss: float
    precision: dict[str, float]
    tag_thresholds: tuple[float, ...]

    @property
    def mean_precision(self) -> float:
        """Mean over the classes that have an average precision; NaN when there is none."""
        return float(np.mean(list(self.precision.values()))) if self.precision else math.nan


class WholePhotos(Dataset[Tensor | None]):
    """Whole photos, (h, w, 3) uint8; None where one cannot be read."""

    def __init__(self, paths: Sequence[Path], reading: Reading = AS_IT_COMES) -> None:
        self.paths, self.reading = list(paths), reading

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor | None:
        try:
            image = decode(self.paths[i], reading=self.reading)
        except ImageError:
            return None
        size = image.shape[:2]
        if max(size) > MAX_SIDE:
            image = resize(image, with_long_side((size[0], size[1]), MAX_SIDE))
        return torch.from_numpy(image)


def _alone(batch: list[Tensor | None]) -> Tensor | None:
    return batch[0]


@torch.inference_mode()
def validate(
    network: CamNetwork,
    paths: Sequence[Path],
    tags: np.ndarray,
    classes: Sequence[str],
    *,
    device: torch.device,
    amp: torch.dtype | None,
    workers: int = 0,
    reading: Reading = AS_IT_COMES,
) -> Validation | None:
    """Measure on photos, one at a time at their own size; None when none can be read.

    Args:
        tags: (N, C) float32 of 0 and 1.
    """
    was_training = network.training
    network.eval()
    rows, kept = [], []
    loader = DataLoader(
        WholePhotos(paths, reading), batch_size=1, num_workers=workers, collate_fn=_alone, worker_init_fn=stand_back
    )
    for i, image in enumerate(loader):
        if image is None:
            continue
        x = to_input(image[None].to(device), amp)  # (1, 3, h, w)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            rows.append(network(x).float().cpu()[0])
        kept.append(i)
    network.train(was_training)
    if not rows:
        return None
    logits, truth = torch.stack(rows), tags[kept]
    loss = classification_loss(logits, torch.from_numpy(truth)).item()
    if not math.isfinite(loss):
        return Validation(math.nan, {}, (0.5,) * len(classes))
    probability = logits.sigmoid().double().numpy()
    scores = average_precision(probability, truth)
    return Validation(
        loss=loss,
        precision={name: float(s) for name, s in zip(classes, scores, strict=True) if not math.isnan(s)},
        tag_thresholds=tuple(_tag_threshold(probability[:, c], truth[:, c]) for c in range(len(classes))),
    )


def _tag_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    if truth.sum() < 2:
        return 0.5
    return max(LEAST_CONFIDENCE, round(best_f1_threshold(probability, truth), 4))
