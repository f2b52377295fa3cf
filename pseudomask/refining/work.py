"""What a worker does with one photo: read it and its scores, refine, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pseudomask.config import RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import ImageError, UsageError
from pseudomask.extracting.outputs import write_outputs
from pseudomask.refining.refiner import Refined, Refiner
from pseudomask.running.folder_run import FAILED
from pseudomask.running.layout import Outputs
from pseudomask.running.manifest import Entry
from pseudomask.scores import ScoreMap, load_scores


@dataclass(frozen=True)
class Job:
    """One photo; `photo` is None where there is none of the seed's name."""

    outputs: Outputs
    relative: str
    photo: Path | None
    scores: Path
    tags: str


def refine_one(refiners: Sequence[Refiner], photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
    """The refiners in turn, each on what the one before it made."""
    refined = Refined(scores, threshold)
    for refiner in refiners:
        refined = refiner.refine(photo, refined.scores, refined.threshold)
    return refined


def level(refiners: Sequence[Refiner], threshold: float) -> float:
    """The background's height in what the refiners make, from a small photo of two classes.

    It is one number for a whole run, so that scores read again need only this to be masks.
    """
    photo = np.zeros((32, 32, 3), np.uint8)
    photo[8:24, 4:12, 0] = photo[8:24, 20:28, 1] = 255
    values = np.stack([photo[..., 0], photo[..., 1]]).astype(np.float32) / 255
    return refine_one(refiners, photo, ScoreMap((1, 2), values, (32, 32), 1), threshold).threshold


def at_level(refined: Refined, height: float) -> ScoreMap:
    """The scores stretched so that the background's height is `height`: below and above it they stay in order.

    A photo that a refiner passed through keeps its old threshold, while its neighbours have a new one.
    """
    scores, threshold = refined
    if threshold == height or not scores.classes:
        return scores
    values, old, new = scores.values, np.float32(threshold), np.float32(height)
    low = np.minimum(values / old * new, new) if old > 0 else np.zeros_like(values)
    high = new + (values - old) / max(1 - old, np.float32(1e-6)) * (1 - new)
    moved = np.where(values > old, np.clip(high, np.nextafter(new, np.float32(2)), 1), low)
    return ScoreMap(scores.classes, moved.astype(np.float32), scores.size, scores.stride)


def read_pair(job: Job, classes: int, *, max_pixels: int, allow_truncated: bool) -> tuple[np.ndarray, ScoreMap]:
    """A photo and its scores. Raises `ImageError` with a short reason where one is missing or they do not fit."""
    if job.photo is None:
        raise ImageError(job.relative, "no photo of this name in IMAGES")
    if not job.scores.exists():
        raise ImageError(job.relative, "no scores in SEEDS")
    photo = decode(job.photo, max_pixels=max_pixels, allow_truncated=allow_truncated)
    try:
        scores = load_scores(job.scores)
    except UsageError as error:
        raise ImageError(job.relative, str(error)) from error
    if scores.size != photo.shape[:2]:
        theirs, ours = (f"{w}x{h}" for h, w in (scores.size, photo.shape[:2]))
        raise ImageError(job.relative, f"its scores are those of a photo of {theirs}, not {ours}; extract it again")
    if scores.classes and scores.classes[-1] > classes:
        raise ImageError(job.relative, f"its scores name class {scores.classes[-1]}, there are only {classes}")
    return photo, scores


@dataclass(frozen=True)
class Work:
    """Settings and refiners, sent to each worker once; called with a job it returns the manifest's entry."""

    config: RefineConfig
    refiners: tuple[Refiner, ...]
    names: tuple[str, ...]
    threshold: float
    level: float

    def __call__(self, job: Job) -> Entry:
        config = self.config
        try:
            photo, scores = read_pair(
                job, len(self.names), max_pixels=config.max_pixels, allow_truncated=config.allow_truncated
            )
            refined = at_level(refine_one(self.refiners, photo, scores, self.threshold), self.level)
        except ImageError as error:
            return failed(job, error.reason)
        except (MemoryError, torch.OutOfMemoryError):
            return failed(job, "not enough memory to refine it")
        return write_outputs(
            job.outputs,
            job.relative,
            refined,
            config,
            threshold=self.level,
            names=self.names,
            tags_from=job.tags,
            whole=photo if config.overlay else None,
        )


def failed(job: Job, reason: str) -> Entry:
    """The manifest's line of a photo that has no mask."""
    return {"key": job.outputs.key, "image": job.relative, "status": FAILED, "reason": reason}
