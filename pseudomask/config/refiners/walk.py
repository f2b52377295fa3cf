"""The settings of the affinity random walk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pseudomask.config.common import Amp, option

_walk = partial(option, panel="Walk", of=("walk",))


@dataclass(frozen=True, kw_only=True)
class WalkOptions:
    """The affinity random walk (docs/refinement-walk.md)."""

    affinity: Path | None = _walk(
        None,
        "Boundary head from train-affinity for walk; by default the bundled one, if it fits the weights.",
        role="place",
        first=True,
    )
    walk_weights: Path | None = _walk(
        None,
        "Weights with the backbone that --affinity was trained on; by default searched for in the weights that "
        "made the scores, those given to train-affinity, $PSEUDOMASK_WEIGHTS and the bundled weights.",
        role="place",
    )
    walk_power: float | None = _walk(
        None,
        "Exponent of the power mean over a pixel's neighbours; above 1 favours high scores; by default 1.6 / (1 - "
        "threshold).",
        min=0.1,
        max=100.0,
    )
    walk_radius: int = _walk(5, "Reach of one step, in cells of 4 × 4 pixels.", min=2, max=32)
    walk_beta: float = _walk(
        10.0, "Exponent of the affinity; higher values let less score cross an edge.", min=0.01, max=1000.0
    )
    walk_steps: int = _walk(8, "Number of steps as a power of two: the walk takes 2^N steps.", min=0, max=16)
    walk_threshold: float | None = _walk(
        None,
        "Background threshold after the walk, with each photo's highest score scaled to 1; by default threshold + 0.12 "
        "× (1 - threshold), or with the share that the head's card has instead of 0.12.",
        min=0.0,
        max=1.0,
    )
    walk_side: int = _walk(
        640, "Downscale larger photos for the walk, by a whole factor, so that the long side is at most this.", min=64
    )
    walk_classes: float = _walk(
        1.0,
        "Weight of what the boundary head learned of the classes, where it knows those of the scores; 0 ignores it.",
        min=0.0,
        max=100.0,
    )
    walk_seeds: float | None = _walk(
        None,
        "Weight of the scores before the walk in a geometric mean with those after it; 0 keeps these alone; by default "
        "0.5 for cpmc's scores if the boundary head knows their classes, else 0.",
        min=0.0,
        max=1.0,
    )
    amp: Amp = _walk(
        "auto",
        "Mixed precision of the walk's network; auto uses bf16 on GPUs and CPUs that support it, else off.",
        panel="Machine",
    )
