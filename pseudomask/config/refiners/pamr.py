"""The settings of PAMR."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pseudomask.config.common import option

_pamr = partial(option, panel="PAMR", of=("pamr",))


@dataclass(frozen=True, kw_only=True)
class PamrOptions:
    """Pixel-adaptive refinement (Araslanov & Roth, CVPR 2020, §3.3)."""

    pamr_iterations: int = _pamr(10, "PAMR iterations; 0 disables it.", min=0)
    pamr_dilations: tuple[int, ...] = _pamr(
        (1, 2, 4, 8, 12, 24), "Distances of the 8 neighbours, in pixels of the downscaled photo.", min=1, max=64
    )
    pamr_softness: float = _pamr(
        0.1, "Colour tolerance of PAMR; smaller values count only neighbours of similar colour.", min=0.001, max=100.0
    )
    pamr_side: int = _pamr(160, "Downscale photos for PAMR so that the long side is at most this.", min=16)
