"""CAM (Zhou et al., CVPR 2016) and ReCAM (Chen et al., CVPR 2022): one linear map of the features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pseudomask.config import WeightRule
from pseudomask.maps.method import MapMethod
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork


def present_class_maps(features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
    """ReLU(w_k · f(p)) for the present classes only, in float32.

    Args:
        features: (B, D, h, w).
        weights: (C, D, 1, 1).
        index: (B, N) int64.

    Returns:
        (B, N, h, w), ≥ 0.
    """
    h, w = features.shape[-2:]
    rows = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, hw, D), as channels-last features lie in memory
    # On a CPU as many as its cache holds: in float32 the features then never go to memory.
    step = 256 if features.device.type == "cpu" else h * w
    with torch.autocast(features.device.type, enabled=False):
        chosen = weights.flatten(1)[index].float()  # (B, N, D)
        maps = torch.cat([chosen @ part.float().mT for part in rows.split(step, 1)], 2)  # (B, N, hw)
    found: Tensor = torch.relu(maps).unflatten(2, (h, w))
    return found


@dataclass(frozen=True)
class LinearMaps(MapMethod):
    """Maps whose weights follow a rule: `first` is plain CAM, the others need the second classifier."""

    rule: WeightRule

    @property
    def threshold_key(self) -> str:
        return self.rule

    @property
    def default_threshold(self) -> float:
        return 0.2

    def check(self, network: CamNetwork) -> None:
        network.map_weights(self.rule)

    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        return present_class_maps(features.last, network.map_weights(self.rule), index)
