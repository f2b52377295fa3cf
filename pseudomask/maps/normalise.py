"""The common scale of all maps: each is divided by its own maximum (ReCAM, Chen et al., CVPR 2022, public code)."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-5
"""Added to a map's maximum before dividing, as in the paper's code."""


def normalise_maps(maps: Tensor) -> Tensor:
    """Divide each map by its own maximum plus 1e-5: (…, h, w), ≥ 0 → (…, h, w) in [0, 1)."""
    return maps / (maps.amax((-2, -1), keepdim=True) + EPSILON)
