"""Grad-CAM++ (Chattopadhyay et al., WACV 2018, eq. 10 and 19) of the logit's exponential, in closed form.

With g = w_cd / P the gradient at each of P positions and S_d = Σ_p f_d(p), α_d = g² / (2 g² + S_d g³), so that the
channel's weight Σ_p α_d ReLU(g) is ReLU(w_cd) / (2 + w_cd · mean_p f_d(p)).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pseudomask.maps.cams.variant import WeightedCam, pooled


@dataclass(frozen=True)
class GradCamPlusPlus(WeightedCam):
    """Positive weights, damped for channels that are already strong."""

    name = "gradcampp"

    @property
    def default_threshold(self) -> float:
        return 0.18  # best on train in docs/cam-variants.md

    def weigh(self, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        positive = weights.relu()[index]
        return positive / (2 + positive * pooled(features)[:, None])
