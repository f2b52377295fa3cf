"""Softmax CAM: the gradient of a class's softmax probability instead of its logit (the idea of CLIP-ES, CVPR 2023).

With s = softmax(z), ∂s_c/∂f(p) is proportional to w_c − Σ_k s_k w_k, and hence to w_c − Σ_{k≠c} π_k w_k, where π is
the softmax of the rivals' logits alone. The latter form is used here, as it does not vanish where s_c is 1. The rivals
are all classes of the weights, not the photo's tags, so that a photo with one tag also has a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pseudomask.maps.cams.variant import WeightedCam, pooled


@dataclass(frozen=True)
class SoftmaxCam(WeightedCam):
    """A_c = ReLU((w_c − Σ_{k≠c} π_k w_k) · f(p))."""

    name = "softmax"

    @property
    def default_threshold(self) -> float:
        return 0.1  # best on train in docs/cam-variants.md

    def weigh(self, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        if len(weights) == 1:  # no rivals
            return weights[index]
        logits = (pooled(features) @ weights.T)[:, None].expand(-1, index.shape[1], -1)  # (B, N, C)
        rivals = logits.scatter(2, index[..., None], -torch.inf).softmax(2)
        return weights[index] - rivals @ weights
