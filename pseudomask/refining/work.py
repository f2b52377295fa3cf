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


@dataclass(frozen=True)
class Step:
    """A refiner and the background's height in what it makes: one number for all photos of a run."""

    refiner: Refiner
    level: float


def plan_steps(refiners: Sequence[Refiner], threshold: float) -> tuple[Step, ...]:
    """Each refiner's level, found on a small photo of two classes."""
    photo = np.zeros((32, 32, 3), np.uint8)
    photo[8:24, 4:12, 0] = photo[8:24, 20:28, 1] = 255
    values = np.stack([photo[..., 0], photo[..., 1]]).astype(np.float32) / 255
    steps: list[Step] = []
    for refiner in refiners:
        threshold = refiner.refine(photo, ScoreMap((1, 2), values, (32, 32), 1), threshold).threshold
        steps.append(Step(refiner, threshold))
    return tuple(steps)


def refine_one(steps: Sequence[Step], photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
    """The steps in turn, each on what the one before it made."""
    for step in steps:
        scores = at_level(step.refiner.refine(photo, scores, threshold), step.level)
        threshold = step.level
    return Refined(scores, threshold)


def at_level(refined: Refined, level: float) -> ScoreMap:
    """The scores shrunk towards 0 or 1 so that the background's height is `level`: no mask changes by it.

    A photo that a refiner passed through keeps its old threshold, while its neighbours have a new one.
    """
    scores, threshold = refined
    if threshold == level or not scores.classes:
        return scores
    values, old, new = scores.values, np.float32(threshold), np.float32(level)
    moved = values * (new / old) if new < old else 1 - (1 - values) * ((1 - new) / (1 - old))
    # No rounding carries a score across the threshold.
    moved = np.where(values > old, np.maximum(moved, np.nextafter(new, np.float32(2))), np.minimum(moved, new))
    return ScoreMap(scores.classes, np.clip(moved, 0, 1), scores.size, scores.stride)


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
    """Settings and steps, sent to each worker once; called with a job it returns the manifest's entry."""

    config: RefineConfig
    steps: tuple[Step, ...]
    names: tuple[str, ...]
    threshold: float

    def __call__(self, job: Job) -> Entry:
        config = self.config
        try:
            photo, scores = read_pair(
                job, len(self.names), max_pixels=config.max_pixels, allow_truncated=config.allow_truncated
            )
            refined = refine_one(self.steps, photo, scores, self.threshold)
        except ImageError as error:
            return failed(job, error.reason)
        except (MemoryError, torch.OutOfMemoryError):
            return failed(job, "not enough memory to refine it")
        return write_outputs(
            job.outputs,
            job.relative,
            refined.scores,
            config,
            threshold=refined.threshold,
            names=self.names,
            tags_from=job.tags,
            whole=photo if config.overlay else None,
        )


def failed(job: Job, reason: str) -> Entry:
    """The manifest's line of a photo that has no mask."""
    return {"key": job.outputs.key, "image": job.relative, "status": FAILED, "reason": reason}
