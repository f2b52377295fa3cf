"""The task a worker runs on a photo or a batch: read the photos and their scores, refine, and write the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pseudomask.config import RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.data.reading import AS_IT_COMES, Reading
from pseudomask.errors import ImageError, UsageError
from pseudomask.extracting.outputs import write_outputs
from pseudomask.refining.refiner import BatchRefiner, ClassRefiner, PhotoRefiner, Refined, Refiner
from pseudomask.running.halving import OUT_OF_MEMORY, halving, memory_errors
from pseudomask.running.identity import TOUCHED, identify
from pseudomask.running.layout import Outputs
from pseudomask.running.manifest import FAILED, Entry
from pseudomask.running.own import Own
from pseudomask.running.record import hash_file
from pseudomask.scores import ScoreMap, load_scores

_TOO_LARGE = "not enough memory to refine it"


@dataclass(frozen=True, slots=True)
class Job:
    """One photo in the folder `images`, which is None if the seed has no photo.

    `unchanged` checks whether the photo is still the one its scores were made from, if that is known. Paths are built
    on demand, since they would take up most of the memory of 100,000 jobs.
    """

    outputs: Outputs
    relative: str
    images: Path | None
    seeds: Path
    tags: str
    reading: Reading = AS_IT_COMES
    unchanged: Callable[[Path], bool] | None = None

    @property
    def photo(self) -> Path | None:
        return None if self.images is None else self.images / self.relative

    @property
    def scores(self) -> Path:
        return Outputs(self.outputs.key, self.seeds).scores


@dataclass(frozen=True)
class LevelledRefiner:
    """A refiner and the background threshold of its output, the same for all photos of a run."""

    refiner: Refiner
    level: float


def with_levels(refiners: Sequence[Refiner], threshold: float, names: Sequence[str]) -> tuple[LevelledRefiner, ...]:
    """Each refiner, set up for the classes `names`, with its level, found on a small photo of two classes."""
    photo = np.zeros((32, 32, 3), np.uint8)
    photo[8:24, 4:12, 0] = photo[8:24, 20:28, 1] = 255
    values = np.stack([photo[..., 0], photo[..., 1]]).astype(np.float32) / 255
    levelled: list[LevelledRefiner] = []
    for refiner in refiners:
        refiner = refiner.for_classes(names) if isinstance(refiner, ClassRefiner) else refiner
        if not isinstance(refiner, PhotoRefiner):  # those leave the threshold unchanged
            threshold = refiner.refine(photo, ScoreMap((1, 2), values, (32, 32), 1), threshold).threshold
        levelled.append(LevelledRefiner(refiner, threshold))
    return tuple(levelled)


def refine_one(
    refiners: Sequence[LevelledRefiner], photo: np.ndarray, scores: ScoreMap, threshold: float, key: str = ""
) -> Refined:
    """Apply the refiners in turn, each to the output of the previous one; `key` is the photo's key."""
    return refine_together(refiners, [photo], [scores], threshold, [key])[0]


def refine_together(
    refiners: Sequence[LevelledRefiner],
    photos: Sequence[np.ndarray],
    scores: Sequence[ScoreMap],
    threshold: float,
    keys: Sequence[str],
) -> list[Refined]:
    """`refine_one` for each photo; refiners that support it get all photos as a batch."""
    for levelled in refiners:
        refiner = levelled.refiner
        if isinstance(refiner, BatchRefiner):
            refined = refiner.refine_batch(photos, scores, threshold)
        else:
            each = [refiner.of_photo(key) if isinstance(refiner, PhotoRefiner) else refiner for key in keys]
            triples = zip(each, photos, scores, strict=True)
            refined = [one.refine(photo, seed, threshold) for one, photo, seed in triples]
        scores = [at_level(one, levelled.level) for one in refined]
        threshold = levelled.level
    return [Refined(one, threshold) for one in scores]


def at_level(refined: Refined, level: float) -> ScoreMap:
    """Rescale the scores towards 0 or 1 so that the background threshold becomes `level`, without changing any mask.

    This is for photos that a refiner returned unchanged: they keep the old threshold, while the others have a new one.
    """
    scores, threshold = refined
    if threshold == level or not scores.classes:
        return scores
    values, old, new = scores.values, np.float32(threshold), np.float32(level)
    moved = values * (new / old) if new < old else 1 - (1 - values) * ((1 - new) / (1 - old))
    # Keep rounding from carrying a score across the threshold.
    moved = np.where(values > old, np.maximum(moved, np.nextafter(new, np.float32(2))), np.minimum(moved, new))
    return ScoreMap(scores.classes, np.clip(moved, 0, 1), scores.size, scores.stride)


def read_pair(job: Job, classes: int, *, max_pixels: int, allow_truncated: bool) -> tuple[np.ndarray, ScoreMap]:
    """Read a photo and its scores. Raises `ImageError` with a short reason if one is missing or they do not match."""
    if job.photo is None:
        raise ImageError(job.relative, "no photo with this name in IMAGES")
    if not job.scores.exists():
        raise ImageError(job.relative, "no scores in SEEDS")
    if job.unchanged is not None and not job.unchanged(job.photo):
        raise ImageError(job.relative, "it is not the file that its scores were made from; extract it again")
    photo = decode(job.photo, max_pixels=max_pixels, allow_truncated=allow_truncated, reading=job.reading)
    try:
        scores = load_scores(job.scores)
    except UsageError as error:
        raise ImageError(job.relative, str(error)) from error
    if scores.size != photo.shape[:2]:
        theirs, ours = (f"{w}x{h}" for h, w in (scores.size, photo.shape[:2]))
        raise ImageError(job.relative, f"its scores belong to a photo of {theirs}, not {ours}; extract it again")
    if scores.classes and scores.classes[-1] > classes:
        raise ImageError(job.relative, f"its scores contain class {scores.classes[-1]}, but there are only {classes}")
    return photo, scores


class Worked(NamedTuple):
    """Manifest entries of a batch; `most`: the batch size this worker uses from now on."""

    entries: list[Entry]
    most: int


class Read(NamedTuple):
    """A photo and its scores; `inputs`: their identities for the manifest."""

    job: Job
    inputs: dict[str, Any]
    photo: np.ndarray
    scores: ScoreMap


class Made(NamedTuple):
    """A refined photo, not yet written."""

    job: Job
    inputs: dict[str, Any]
    photo: np.ndarray
    refined: Refined


@dataclass
class Work:
    """Settings and refiners, sent to each worker once; calling it with a batch of jobs writes their files.

    `most`: the batch size, which shrinks if the device runs out of memory. `own`: the run's record, which must still
    exist whenever a file is written.
    """

    config: RefineConfig
    refiners: tuple[LevelledRefiner, ...]
    names: tuple[str, ...]
    threshold: float
    most: int = 1
    own: Own | None = None

    def __call__(self, jobs: Sequence[Job]) -> Worked:
        made = self.compute([self.read(job) for job in jobs])
        return Worked([self.write(one) for one in made], self.most)

    def read(self, job: Job) -> Read | Entry:
        """The photo and its scores; or the manifest entry of a photo that cannot be read."""
        try:
            return Read(job, *self._read(job))
        except (ImageError, MemoryError) as error:
            return failed(job, error.reason if isinstance(error, ImageError) else _TOO_LARGE)

    def compute(self, batch: Sequence[Read | Entry]) -> list[Made | Entry]:
        """Refine what was read; entries stay, and come first."""
        entries: list[Made | Entry] = [one for one in batch if not isinstance(one, Read)]
        made, self.most = halving([one for one in batch if isinstance(one, Read)], self.most, self._make)
        return entries + made

    def write(self, made: Made | Entry) -> Entry:
        """Write a photo's files; its manifest entry."""
        return self._write(*made) if isinstance(made, Made) else made

    def _read(self, job: Job) -> tuple[dict[str, Any], np.ndarray, ScoreMap]:
        """Identities of photo and scores for the manifest, then the photo and the scores. Raises `ImageError`."""
        config = self.config
        inputs: dict[str, Any] = {}
        photo = None if job.photo is None else identify(job.photo, hashed=config.hash_photos)
        if job.scores.exists():
            inputs["seed"] = hash_file(job.scores)
        pair = read_pair(job, len(self.names), max_pixels=config.max_pixels, allow_truncated=config.allow_truncated)
        assert photo is not None
        assert job.photo is not None
        if not photo.untouched(job.photo) or hash_file(job.scores) != inputs["seed"]:
            raise ImageError(job.relative, TOUCHED)
        return {"photo": photo.to_json(), **inputs}, *pair

    def _make(self, read: Sequence[Read]) -> list[Made | Entry]:
        """Refine; if memory does not suffice even for a single photo, mark it as failed."""
        jobs, inputs, photos, scores = zip(*read, strict=True)
        try:
            with memory_errors():
                keys = [job.outputs.key for job in jobs]
                found = refine_together(self.refiners, photos, scores, self.threshold, keys)
        except OUT_OF_MEMORY:
            if len(read) > 1:
                raise
            return [failed(jobs[0], _TOO_LARGE)]
        except ImageError as error:
            if len(read) > 1:
                return [made for one in read for made in self._make([one])]
            return [failed(jobs[0], error.reason)]
        return [Made(*one) for one in zip(jobs, inputs, photos, found, strict=True)]

    def _write(self, job: Job, inputs: dict[str, Any], photo: np.ndarray, refined: Refined) -> Entry:
        if self.own is not None:
            self.own.check()
        return write_outputs(
            job.outputs,
            job.relative,
            refined.scores,
            self.config,
            threshold=refined.threshold,
            names=self.names,
            tags_from=job.tags,
            inputs=inputs,
            photo=photo,
        )


def failed(job: Job, reason: str) -> Entry:
    """The manifest entry of a photo without a mask."""
    return {"key": job.outputs.key, "image": job.relative, "status": FAILED, "reason": reason}
