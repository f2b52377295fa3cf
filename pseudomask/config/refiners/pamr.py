"""The settings of PAMR."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pseudomask.config.common import option

_pamr = partial(option, panel="PAMR", of=("pamr",))


@dataclass(frozen=True, kw_only=True)
class PamrOptions:
    """Pixel-adaptive refinement (Araslanov & Roth, CVPR 2020, §3.3)."""

    pamr_iterations: int = _pamr(10, "How often each pixel takes its neighbours' mean; 0 is not at all.", min=0)
    pamr_dilations: tuple[int, ...] = _pamr(
        (1, 2, 4, 8, 12, 24), "How far away the 8 neighbours lie, in working pixels.", min=1, max=64
    )
    pamr_softness: float = _pamr(0.1, "Smaller: only neighbours of nearly the same colour count.", min=0.001, max=100.0)
    pamr_side: int = _pamr(160, "Photos are reduced so that their long side is at most this.", min=16)
