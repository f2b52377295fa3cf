"""LayerCAM (Jiang et al., IEEE TIP 2021): each position of a stage weighted by its own positive gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from pseudomask.config import WeightRule
from pseudomask.errors import UsageError
from pseudomask.maps.cams.variant import WeightedCam
from pseudomask.maps.normalise import normalise_maps
from pseudomask.networks.card import Card
from pseudomask.networks.features import Features, grown
from pseudomask.networks.network import CamNetwork


@dataclass(frozen=True)
class LayerCam(WeightedCam):
    """Σ_d ReLU(∂z_c/∂f_d(p)) f_d(p). At the last stage the gradient is w_c everywhere, so no backward pass is needed.

    Several stages (§III-C): each stage's map is divided by its maximum, and the largest value is taken at each position
    of the finest stage. The paper also stretches the maps of early stages with a tanh; this is omitted here.

    Attributes:
        stages: how many to use, counted from the last.
    """

    name = "layercam"

    stages: int = 1

    @property
    def default_threshold(self) -> float:
        return 0.17  # best on train in docs/cam-variants.md

    @classmethod
    def of(cls, config: Any, card: Card) -> Self:
        return cls(getattr(config, "layercam_stages", 1))  # training uses the last stage only

    @property
    def gradients(self) -> bool:
        return self.stages > 1

    @property
    def pyramid(self) -> bool:
        return self.stages > 1

    def check(self, network: CamNetwork, rule: WeightRule) -> None:
        most = len(network.backbone.strides) - 1
        if self.stages > most:
            raise UsageError(f"--layercam-stages {self.stages}: {network.backbone.name} has {most}")

    def weigh(self, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        return weights.relu()[index]

    def maps(self, network: CamNetwork, features: Features, weights: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        if self.stages == 1:
            return super().maps(network, features, weights, index, valid)
        stages, strides = features.stages[-self.stages :], features.strides[-self.stages :]
        with torch.autocast(features.last.device.type, enabled=False):
            # Summed over positions, not averaged, so that no map is as small as the ε of its scaling.
            logits = (features.last.sum((2, 3), dtype=torch.float32) @ weights.flatten(1).T).gather(1, index)
        found = []
        for one in logits.sum(0):  # photos do not interact, so the gradient of their sum is that of each photo
            slopes = torch.autograd.grad(one, stages, retain_graph=True)
            maps = [(s.float().relu() * x.detach()).sum(1, keepdim=True) for s, x in zip(slopes, stages, strict=True)]
            size, (to, *_) = (maps[0].shape[-2], maps[0].shape[-1]), strides
            fine = [
                grown(normalise_maps(m.relu()), stride, to, size, fitted=features.fitted)
                for m, stride in zip(maps, strides, strict=True)
            ]
            found.append(torch.cat(fine, 1).amax(1))  # (B, h, w)
        return torch.stack(found, 1)
