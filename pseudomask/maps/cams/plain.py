"""Plain CAM (Zhou et al., CVPR 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pseudomask.maps.cams.variant import WeightedCam, weighted_maps
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork


@dataclass(frozen=True)
class Plain(WeightedCam):
    """A_c = ReLU(w_c · f(p))."""

    name = "plain"

    def weigh(self, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        return weights[index]

    def maps(self, network: CamNetwork, features: Features, weights: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        return present_class_maps(features.last, weights, index)


def present_class_maps(features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
    """ReLU(w_k · f(p)) for the present classes only, in float32.

    Args:
        features: (B, D, h, w).
        weights: (C, D, 1, 1).
        index: (B, N) int64.

    Returns:
        (B, N, h, w), ≥ 0.
    """
    return weighted_maps(features, weights.flatten(1)[index])
