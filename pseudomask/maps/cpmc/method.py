"""CPMC as a map method: any classifier's weights will do; `calibrate`'s carry heads (docs/methods-cpmc.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pseudomask.config import WeightRule
from pseudomask.errors import WeightsError
from pseudomask.maps.cam import present_class_maps
from pseudomask.maps.cpmc.affinity import pool, unit
from pseudomask.maps.cpmc.settings import CpmcSettings
from pseudomask.maps.cpmc.stages import Stages, refined_map, run_stages
from pseudomask.maps.method import MapMethod
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork

GRID_STRIDE = 16
"""Pixels a position of the grid that all steps run on, or as near to it as the last stage's stride allows."""


def grid_stride(last: int) -> int:
    """The multiple of the last stage's stride that is nearest to 16 from below; the stride itself above 16."""
    return last * max(1, GRID_STRIDE // last)


def context_of(features: Features) -> Tensor:
    """The last stage's features on the grid: (B, D, h, w)."""
    last = features.strides[-1]
    return pool(features.last, grid_stride(last) // last)


def hierarchical(features: Features, heads: Iterable[nn.Module] | None = None) -> Tensor:
    """Each stage's features, averaged over the cells of the grid, scaled to length 1, side by side.

    Evidence: SIPE and SFC join the stages through trained side heads; joining them as they are is our
    inference for weights without such heads. Pooled first, because that costs least (a bias-free head commutes
    with the mean), and scaled last, so that all stages weigh alike.

    Args:
        features: of all stages.
        heads: a projection of each stage, D_s → D'_s channels; None leaves them as they are.

    Returns:
        (B, Σ D_s, h, w), in the stages' precision.
    """
    grid, strides = grid_stride(features.strides[-1]), features.strides[1:]
    pooled = [pool(one, grid // stride) for one, stride in zip(features.stages, strides, strict=True)]
    if heads is not None:
        pooled = [head(one) for head, one in zip(heads, pooled, strict=True)]
    found = [unit(one).unflatten(2, one.shape[-2:]) for one in pooled]
    return torch.cat(found, 1)


@dataclass(frozen=True)
class Cpmc(MapMethod):
    """Classifier-Prototype Mutual Calibration, re-implemented from its abstract.

    Attributes:
        recommended: the rule behind `auto` where the network has a second classifier.
    """

    pyramid = True

    settings: CpmcSettings = field(default_factory=CpmcSettings)
    recommended: WeightRule = "product"

    @property
    def threshold_key(self) -> str:
        return "cpmc"

    @property
    def default_threshold(self) -> float:
        return 0.5  # these maps are flatter and higher than the classifier's

    def rule(self, network: CamNetwork) -> WeightRule:
        """Which classifier's map is calibrated."""
        if self.settings.weights != "auto":
            return self.settings.weights
        return "first" if network.reclassifier is None else self.recommended

    def heads(self, network: CamNetwork) -> nn.ModuleList | None:
        """The heads that make the prototypes' features, or None."""
        wanted = self.settings.output == "calibrated" and self.settings.features in ("auto", "heads")
        return network.side_heads if wanted else None

    def check(self, network: CamNetwork) -> None:
        network.map_weights(self.rule(network))
        if self.settings.features == "heads" and network.side_heads is None:
            raise WeightsError(
                "these weights have no heads for --cpmc-features heads; train them with `pseudomask calibrate`, or "
                "leave out the flag"
            )

    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        """Max-normalised maps, so that all sizes and both mirrors weigh the same in the sum."""
        if self.settings.output == "calibrated":
            return self.stages(network, features, index, valid).output
        context = context_of(features)
        maps = present_class_maps(context, network.map_weights(self.rule(network)), index)
        return refined_map(maps, context, valid, self.settings)[1]

    def stages(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Stages:
        """What every step makes of photos at one size; arguments as for `activate`."""
        context = context_of(features)
        maps = present_class_maps(context, network.map_weights(self.rule(network)), index)
        alone = self.settings.features in ("last", "layer4")  # the second is the first's name of 0.1.0
        h = context if alone else hierarchical(features, self.heads(network))
        return run_stages(maps, context, h, valid, self.settings)
