"""Ablation-CAM (Desai & Ramaswamy, WACV 2020): a channel's weight is what the logit loses without it.

The paper divides by the logit. That changes no map with a positive logit, and would turn one with a negative logit
upside down, so it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pseudomask.maps.cams.variant import WeightedCam, pooled


@dataclass(frozen=True)
class AblationCam(WeightedCam):
    """A_c = ReLU(Σ_d w_cd · mean_q f_d(q) · f_d(p))."""

    name = "ablation"

    def weigh(self, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        return weights[index] * pooled(features)[:, None]
