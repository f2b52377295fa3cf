"""What `extract --refine` does with a photo's scores: a function that callers hand in, as no refiner is known here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pseudomask.errors import PseudomaskError
from pseudomask.networks.features import Features
from pseudomask.running.halving import OUT_OF_MEMORY, memory_errors
from pseudomask.scores import ScoreMap

if TYPE_CHECKING:
    from pseudomask.extracting.setup import Setup


@dataclass(frozen=True)
class Refinement:
    """A chain of refiners, ready to run.

    Attributes:
        names: the refiners in turn.
        threshold: background threshold of the refined scores, in [0, 1]; the same for all photos.
        refine: (the photo's key, photo uint8 (H, W, 3), scores as they are stored, what `look` found) → refined scores.
            Called from several threads.
        look: from the features of photos at scale 1, all stages and not mirrored, what `refine` needs of each; None
            if it needs nothing, or runs the backbone itself.
        affinity_sha256: of the boundary head's file; None without walk.
    """

    names: tuple[str, ...]
    threshold: float
    refine: Callable[[str, np.ndarray, ScoreMap, Tensor | None], ScoreMap]
    look: Callable[[Features], Tensor] | None = None
    affinity_sha256: str | None = None

    def __str__(self) -> str:
        return ",".join(self.names)

    def protocol(self) -> dict[str, Any]:
        """What the run's record says about it."""
        return {
            "refined_by": str(self),
            "masks_threshold": self.threshold,
            "boundary_sha256": self.affinity_sha256,
        }

    def apply(
        self, key: str, photo: np.ndarray, seed: ScoreMap, threshold: float, found: Tensor | None
    ) -> tuple[ScoreMap, float, dict[str, Any]]:
        """What the mask is made from: refined scores and their threshold, or those of the seed if that fails.

        The third value is for the manifest: the threshold of scores and mask, and what was done or why it was not.
        """
        try:
            with memory_errors():
                refined, level, done = self.refine(key, photo, seed, found), self.threshold, {"refined": str(self)}
        except OUT_OF_MEMORY:
            refined, level, done = seed, threshold, {"unrefined": "not enough memory to refine it"}
        except (PseudomaskError, ValueError, ArithmeticError) as error:
            refined, level, done = seed, threshold, {"unrefined": str(error) or type(error).__name__}
        return refined, level, {"threshold": threshold, "masks_threshold": level, **done}


MakeRefinement = Callable[["Setup"], Refinement | None]


def no_refinement(setup: Setup) -> None:
    """For callers that never refine. Raises `PseudomaskError` where the settings ask for it."""
    if setup.config.refine not in ((), ("none",)):
        raise PseudomaskError("--refine needs the function `pseudomask.extract`")
