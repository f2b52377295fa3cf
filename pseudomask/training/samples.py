"""Training crops (METHODS: ReCAM's augmentation), each drawn from (seed, epoch, photo) alone.

Because a crop depends on nothing else, the number of workers changes nothing, and a run resumed in the
middle of an epoch sees exactly the crops that the uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pseudomask.data.decoding import decode
from pseudomask.data.pixels import normalise, resize, with_long_side
from pseudomask.errors import ImageError


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """A permutation of the n photos, int64 (n,)."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def batch_plan(seed: int, epochs: int, n: int, batch_size: int) -> list[list[tuple[int, int]]]:
    """All steps of a training: lists of (epoch, photo). The ragged last batch of an epoch is left out,
    unless it is the only one."""
    steps = []
    for epoch in range(epochs):
        order = epoch_order(seed, epoch, n)
        full = max(n // batch_size, 1)
        for i in range(full):
            steps.append([(epoch, int(p)) for p in order[i * batch_size : (i + 1) * batch_size]])
    return steps


def random_crop(
    image: np.ndarray,
    crop: int,
    rng: np.random.Generator,
    finish: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """A crop × crop window; a smaller image lies at a random place on a canvas of zeros.

    Args:
        image: (C, H, W); photos normalised, so that 0 is the mean colour.
        finish: what makes float32 (C, h, w) of the pixels that are kept, such as normalising them.

    Returns:
        float32 (C, crop, crop), laid out channels-last as photos are.
    """
    _, h, w = image.shape
    top, left = int(rng.integers(abs(h - crop) + 1)), int(rng.integers(abs(w - crop) + 1))
    canvas = np.zeros((crop, crop, len(image)), np.float32).transpose(2, 0, 1)
    source_y, target_y = (top, 0) if h > crop else (0, top)
    source_x, target_x = (left, 0) if w > crop else (0, left)
    rows, columns = min(h, crop), min(w, crop)
    kept = image[:, source_y : source_y + rows, source_x : source_x + columns]
    canvas[:, target_y : target_y + rows, target_x : target_x + columns] = finish(kept) if finish else kept
    return canvas


def augment(image: np.ndarray, *, crop: int, sides: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Random long side, random mirror, random crop: uint8 (H, W, 3) → float32 (3, crop, crop)."""
    long_side = int(rng.integers(sides[0], sides[1] + 1))
    pixels = resize(image, with_long_side(image.shape[:2], long_side)).transpose(2, 0, 1)
    if rng.random() < 0.5:
        pixels = pixels[:, :, ::-1]
    return random_crop(pixels, crop, rng, finish=_normalised)


def _normalised(pixels: np.ndarray) -> np.ndarray:
    return normalise(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def one_hot(tags: Sequence[int], n_classes: int) -> np.ndarray:
    """Positions → float32 (C,) of 0 and 1."""
    row = np.zeros(n_classes, np.float32)
    row[list(tags)] = 1
    return row


class TrainingCrops(Dataset[tuple[Tensor, Tensor, str]]):
    """Indexed by (epoch, photo): (3, crop, crop) float32, tags (C,) float32, and "" or what went wrong.

    An unreadable photo becomes a crop of the mean colour without tags; the trainer names it and leaves it
    out of its batch, so that one bad file in ten thousand does not end a night's work.
    """

    def __init__(
        self, paths: Sequence[Path], tags: np.ndarray, *, crop: int, sides: tuple[int, int], seed: int
    ) -> None:
        self.paths, self.tags = list(paths), tags
        self.crop, self.sides, self.seed = crop, sides, seed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, Tensor, str]:
        epoch, photo = place
        rng = np.random.default_rng([self.seed, epoch, photo])
        try:
            image = decode(self.paths[photo])
        except ImageError as error:
            empty = torch.zeros(3, self.crop, self.crop)
            return empty, torch.zeros(self.tags.shape[1]), str(error)
        values = augment(image, crop=self.crop, sides=self.sides, rng=rng)
        return torch.from_numpy(values), torch.from_numpy(self.tags[photo]), ""
