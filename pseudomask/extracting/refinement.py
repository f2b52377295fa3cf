"""What `extract --refine` does with a photo's scores: a function that callers hand in, as no refiner is known here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from pseudomask.errors import PseudomaskError
from pseudomask.networks.features import Features
from pseudomask.running.halving import OUT_OF_MEMORY, halving, memory_errors
from pseudomask.scores import ScoreMap

if TYPE_CHECKING:
    from pseudomask.extracting.setup import Setup


_FAILURES = (PseudomaskError, ValueError, ArithmeticError)
Applied = tuple[ScoreMap, float, dict[str, Any]]


class Seed(NamedTuple):
    """A photo's key and pixels, uint8 (H, W, 3), its scores as they are stored, what `look` found."""

    key: str
    photo: np.ndarray
    scores: ScoreMap
    found: Tensor | None = None


@dataclass(frozen=True)
class Refinement:
    """A chain of refiners, ready to run.

    Attributes:
        names: the refiners in turn.
        threshold: background threshold of the refined scores, in [0, 1]; the same for all photos.
        refine: (the photos' keys, photos uint8 (H, W, 3), scores as they are stored, what `look` found in each) →
            refined scores. Called from several threads.
        look: from the features of photos at scale 1, all stages and not mirrored, what `refine` needs of each; None
            if it needs nothing, or runs the backbone itself.
        affinity_sha256: of the boundary head's file; None without walk.
        together: whether photos are refined in less time together than one by one.
    """

    names: tuple[str, ...]
    threshold: float
    refine: Callable[
        [Sequence[str], Sequence[np.ndarray], Sequence[ScoreMap], Sequence[Tensor | None]], Sequence[ScoreMap]
    ]
    look: Callable[[Features], Tensor] | None = None
    affinity_sha256: str | None = None
    together: bool = False

    def __str__(self) -> str:
        return ",".join(self.names)

    def protocol(self) -> dict[str, Any]:
        """What the run's record says about it."""
        return {
            "refined_by": str(self),
            "masks_threshold": self.threshold,
            "boundary_sha256": self.affinity_sha256,
        }

    def apply_all(self, seeds: Sequence[Seed], threshold: float, most: int) -> tuple[list[Applied], int]:
        """`apply` for each, at most `most` together, or one by one if that fails; how many fit into memory."""
        return halving(seeds, most, lambda some: self._apply_some(some, threshold))

    def _apply_some(self, seeds: Sequence[Seed], threshold: float) -> list[Applied]:
        refined: Sequence[ScoreMap] | None = None
        if len(seeds) > 1:
            columns = zip(*((one.key, one.photo, one.scores, one.found) for one in seeds), strict=True)
            with suppress(*_FAILURES):
                refined = self.refine(*columns)
        if refined is None:
            return [self.apply(one, threshold) for one in seeds]
        return [self._applied(one, self.threshold, threshold, {"refined": str(self)}) for one in refined]

    def apply(self, seed: Seed, threshold: float) -> Applied:
        """What the mask is made from: refined scores and their threshold, or those of the seed if that fails.

        The third value is for the manifest: the threshold of scores and mask, and what was done or why it was not.
        """
        level = threshold
        try:
            with memory_errors():
                [refined] = self.refine([seed.key], [seed.photo], [seed.scores], [seed.found])
                level, done = self.threshold, {"refined": str(self)}
        except OUT_OF_MEMORY:
            refined, done = seed.scores, {"unrefined": "not enough memory to refine it"}
        except _FAILURES as error:
            refined, done = seed.scores, {"unrefined": str(error) or type(error).__name__}
        return self._applied(refined, level, threshold, done)

    @staticmethod
    def _applied(scores: ScoreMap, level: float, threshold: float, done: dict[str, Any]) -> Applied:
        return scores, level, {"threshold": threshold, "masks_threshold": level, **done}


MakeRefinement = Callable[["Setup"], Refinement | None]


def no_refinement(setup: Setup) -> None:
    """For callers that never refine. Raises `PseudomaskError` where the settings ask for it."""
    if setup.config.refine not in ((), ("none",)):
        raise PseudomaskError("--refine needs the function `pseudomask.extract`")
