"""Refiners that die, dawdle or err: workers import them from here."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pseudomask.refining.refiner import Refined
from pseudomask.scores import ScoreMap

MARK = (1, 2, 3)  # the colour of pixel (0, 0) in the photo that kills


def with_the_mark(photos: Path, copy: Path, key: str = "p01") -> Path:
    """A copy of the photos in which one of them kills."""
    shutil.copytree(photos, copy)
    image = np.array(Image.open(copy / f"{key}.png"))
    image[0, 0] = MARK
    Image.fromarray(image).save(copy / f"{key}.png")
    return copy


@dataclass(frozen=True)
class Mortal:
    """Passes scores through; kills its process at the marked photo."""

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        if tuple(photo[0, 0]) == MARK:
            os.kill(os.getpid(), signal.SIGKILL)
        return Refined(scores, threshold)


@dataclass(frozen=True)
class Slow:
    """Takes a moment, and leaves the process's number in `folder`."""

    folder: Path
    seconds: float = 0.1

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        (self.folder / str(os.getpid())).touch()
        time.sleep(self.seconds)
        return Refined(scores, threshold)


@dataclass(frozen=True)
class Half:
    """Its scores are half as high where the first class is not alone; elsewhere it passes through."""

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        if len(scores.classes) < 2:
            return Refined(scores, threshold)
        return Refined(ScoreMap(scores.classes, scores.values / 2, scores.size, scores.stride), threshold / 2)


@dataclass(frozen=True)
class Greedy:
    """Wants more memory than there is."""

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        if photo.shape != (32, 32, 3):  # not at the start
            raise MemoryError
        return Refined(scores, threshold)


@dataclass(frozen=True)
class Crowd:
    """Passes scores through, at most `room` photos at once; notes how many came."""

    room: int
    seen: list[int]

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        return Refined(scores, threshold)

    def refine_batch(self, photos: Sequence[np.ndarray], scores: Sequence[ScoreMap], threshold: float) -> list[Refined]:
        self.seen.append(len(photos))
        if len(photos) > self.room:
            raise MemoryError
        return [Refined(one, threshold) for one in scores]


@dataclass(frozen=True)
class MortalCrowd(Mortal):
    """Takes photos together, and dies with all of them."""

    def refine_batch(self, photos: Sequence[np.ndarray], scores: Sequence[ScoreMap], threshold: float) -> list[Refined]:
        return [self.refine(photo, one, threshold) for photo, one in zip(photos, scores, strict=True)]
