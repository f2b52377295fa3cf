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

    affinity: Path | None = _walk(None, "Weights that train-affinity wrote; walk needs them.", role="place")
    walk_weights: Path | None = _walk(
        None,
        "Weights with the backbone that --affinity stands on; by default looked for: what SEEDS were made with, what "
        "train-affinity took, $PSEUDOMASK_WEIGHTS, those that come with pseudomask.",
        role="place",
    )
    walk_power: float | None = _walk(
        None,
        "Each pixel takes its neighbours' power mean of this exponent: above 1 the high scores win; by default 1.6 / "
        "(1 - threshold).",
        min=0.1,
        max=100.0,
    )
    walk_radius: int = _walk(5, "How far one step reaches, in working pixels of 4 photo pixels.", min=2, max=32)
    walk_beta: float = _walk(10.0, "Exponent of the affinity: higher lets less pass an edge.", min=0.01, max=1000.0)
    walk_steps: int = _walk(8, "The walk takes 2 to the power of this many steps.", min=0, max=16)
    walk_threshold: float | None = _walk(
        None,
        "Background's height after the walk, where a photo's highest score is 1; by default 0.12 of the way from the "
        "threshold to 1.",
        min=0.0,
        max=1.0,
    )
    walk_side: int = _walk(
        640, "Larger photos are reduced by a whole number, so that their long side is at most this.", min=64
    )
    amp: Amp = _walk(
        "auto",
        "Mixed precision of walk's network: auto is bf16 on GPUs and CPUs that have it, else off.",
        panel="Machine",
    )
