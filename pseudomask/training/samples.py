"""Training crops (augmented as in ReCAM's public code), each drawn from (seed, epoch, photo) alone.

Because a crop depends on nothing else, the number of workers changes nothing, and a run resumed in the
middle of an epoch sees exactly the crops that the uninterrupted one would have seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pseudomask.data.decoding import decode
from pseudomask.data.pixels import resize, with_long_side
from pseudomask.data.reading import AS_IT_COMES, Reading
from pseudomask.errors import ImageError, UsageError


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


@dataclass(frozen=True)
class Window:
    """A square of `side` pixels on an image; a smaller image lies inside it.

    Attributes:
        source: rows and columns of the image that the square shows.
        target: where these lie in the square.
    """

    side: int
    source: tuple[slice, slice]
    target: tuple[slice, slice]

    @classmethod
    def random(cls, size: tuple[int, int], side: int, rng: np.random.Generator) -> Window:
        """A uniformly random position for an image of `size` (H, W)."""
        source, target = [], []
        for length in size:
            offset, n = int(rng.integers(abs(length - side) + 1)), min(length, side)
            first, start = (offset, 0) if length > side else (0, offset)
            source.append(slice(first, first + n))
            target.append(slice(start, start + n))
        return cls(side, (source[0], source[1]), (target[0], target[1]))

    def cut(self, image: np.ndarray, around: np.ndarray | int) -> np.ndarray:
        """(H, W, …) → (side, side, …) of the same type; `around` fills the area outside the image."""
        square = np.empty((self.side, self.side, *image.shape[2:]), image.dtype)
        if image.shape[0] < self.side or image.shape[1] < self.side:
            square[:] = around
        square[self.target] = image[self.source]
        return square


def augment(
    image: np.ndarray, *, crop: int, sides: tuple[int, int], rng: np.random.Generator, around: np.ndarray
) -> np.ndarray:
    """Random long side, random mirror, random crop: uint8 (H, W, 3) → uint8 (crop, crop, 3), `around` beside it."""
    long_side = int(rng.integers(sides[0], sides[1] + 1))
    pixels = resize(image, with_long_side((image.shape[0], image.shape[1]), long_side))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return Window.random((pixels.shape[0], pixels.shape[1]), crop, rng).cut(pixels, around)


def one_hot(tags: Sequence[int], n_classes: int) -> np.ndarray:
    """Positions → float32 (C,) of 0 and 1."""
    row = np.zeros(n_classes, np.float32)
    row[list(tags)] = 1
    return row


class Crops(Dataset[tuple[Tensor, Tensor, str]], ABC):
    """What is trained on, indexed by (epoch, photo): pixels, their truth, and "" or what went wrong.

    Pixels, (crop, crop, 3) uint8, travel from the decoding processes, and to a GPU, as bytes; the backbone's
    `normalisation` makes its input of them; `around` is the colour that it sees as 0.

    An unreadable photo becomes a crop of that colour; the trainer names it and leaves it out of its batch, so that one
    bad file in ten thousand does not end a night's work.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        *,
        crop: int,
        sides: tuple[int, int],
        seed: int,
        around: np.ndarray,
        reading: Reading = AS_IT_COMES,
    ) -> None:
        self.paths, self.around, self.reading = list(photos), around, reading
        self.crop, self.sides, self.seed = crop, sides, seed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: tuple[int, int]) -> tuple[Tensor, Tensor, str]:
        epoch, photo = index
        rng = np.random.default_rng([self.seed, epoch, photo])
        try:
            pixels, truth = self.drawn(photo, decode(self.paths[photo], reading=self.reading), rng)
        except (ImageError, UsageError) as error:
            empty = np.full((self.crop, self.crop, 3), self.around)
            return torch.from_numpy(empty), self.no_truth(), str(error)
        return torch.from_numpy(pixels), truth, ""

    @abstractmethod
    def drawn(self, photo: int, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        """A random crop of the decoded photo, and its truth. Raises `ImageError` or `UsageError`."""

    def both(
        self, image: np.ndarray, labels: np.ndarray, outside: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same random long side, mirror and crop of a photo and its labels, int32 (H, W); `outside` is around them.

        Returns:
            uint8 (crop, crop, 3), int32 (crop, crop).
        """
        height, width = with_long_side(
            (image.shape[0], image.shape[1]), int(rng.integers(self.sides[0], self.sides[1] + 1))
        )
        nearest = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
        pixels, labels = resize(image, (height, width)), np.asarray(nearest)
        if rng.random() < 0.5:
            pixels, labels = pixels[:, ::-1], labels[:, ::-1]
        window = Window.random((height, width), self.crop, rng)
        return window.cut(pixels, self.around), window.cut(labels, outside)

    @abstractmethod
    def no_truth(self) -> Tensor:
        """For a photo that cannot be used."""


class TrainingCrops(Crops):
    """With the photo's tags, (C,) float32; an unreadable photo has none."""

    def __init__(self, photos: Sequence[Path], tags: np.ndarray, **settings: Any) -> None:
        super().__init__(photos, **settings)
        self.tags = tags

    def drawn(self, photo: int, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        pixels = augment(image, crop=self.crop, sides=self.sides, rng=rng, around=self.around)
        return pixels, torch.from_numpy(self.tags[photo])

    def no_truth(self) -> Tensor:
        return torch.zeros(self.tags.shape[1])
