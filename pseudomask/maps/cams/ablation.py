"""Ablation-CAM (Desai & Ramaswamy, WACV 2020): a channel's weight is the drop in the logit without it.

The paper divides by the logit. This is omitted here: it changes no map with a positive logit, and would invert a map
with a negative one.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pseudomask.maps.cams.variant import WeightedCam, pooled


@dataclass(frozen=True)
class AblationCam(WeightedCam):
    """A_c = ReLU(Σ_d w_cd · mean_q f_d(q) · f_d(p))."""

    name = "ablation"

    @property
    def default_threshold(self) -> float:
        return 0.14  # best on train in docs/cam-variants.md

    def weigh(self, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        return weights[index] * pooled(features)[:, None]
