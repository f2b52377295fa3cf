"""The interface of refiners: small objects that make a photo's score map follow the edges in the photo."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from pseudomask.scores import ScoreMap

Kind = TypeVar("Kind", bound=Hashable)


class Refined(NamedTuple):
    """A score map and its background threshold; the mask is `scores.mask(threshold)`."""

    scores: ScoreMap
    threshold: float


class Refiner(Protocol):
    """A refinement method. It is sent to worker processes, so it must be picklable and hold no open files."""

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        """Refine scores, keeping their classes; a photo without classes is returned unchanged.

        Args:
            photo: (H, W, 3) uint8 RGB, oriented, of `scores.size`.
            scores: from `extract` or another refiner.
            threshold: the background threshold of `scores`, in [0, 1].
        """
        ...


@runtime_checkable
class BatchRefiner(Refiner, Protocol):
    """A refiner that is faster on batches of photos of equal size."""

    def refine_batch(self, photos: Sequence[np.ndarray], scores: Sequence[ScoreMap], threshold: float) -> list[Refined]:
        """The same as `refine` for each photo, up to rounding; the photos may have any sizes."""
        ...


@runtime_checkable
class PhotoRefiner(Refiner, Protocol):
    """A refiner that needs more than a photo's pixels, such as files found by the photo's key.

    Its own `refine`, for a photo without a key, leaves the background threshold unchanged.
    """

    def of_photo(self, key: str) -> Refiner:
        """The refiner for this photo. Its `refine` raises `ImageError` if anything it needs is missing or invalid."""
        ...

    def check(self, photos: Iterable[tuple[str, Path]]) -> None:
        """Raise `UsageError` before work starts if any of these photos, given as key and path, cannot be refined."""
        ...


@runtime_checkable
class ClassRefiner(Refiner, Protocol):
    """A refiner that uses the names of the classes."""

    def for_classes(self, names: Sequence[str]) -> Refiner:
        """The refiner for scores whose class with mask index i is called names[i - 1]."""
        ...


def check_photos(refiners: Iterable[Refiner], photos: Sequence[tuple[str, Path]]) -> None:
    """Call `check` on each refiner that has one."""
    for refiner in refiners:
        if isinstance(refiner, PhotoRefiner):
            refiner.check(photos)


def alike(kinds: Sequence[Kind | None]) -> list[tuple[Kind, list[int]]]:
    """Each value and its positions, in order of first appearance; None is skipped."""
    groups: dict[Kind, list[int]] = {}
    for i, kind in enumerate(kinds):
        if kind is not None:
            groups.setdefault(kind, []).append(i)
    return list(groups.items())
