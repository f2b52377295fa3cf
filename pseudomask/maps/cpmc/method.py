"""CPMC as a map method: any classifier's weights will do; `calibrate`'s carry heads (docs/methods-cpmc.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pseudomask.errors import WeightsError
from pseudomask.maps.cam import present_class_maps
from pseudomask.maps.cpmc.affinity import pool, unit
from pseudomask.maps.cpmc.settings import CpmcSettings
from pseudomask.maps.cpmc.stages import Stages, refined_map, run_stages
from pseudomask.networks.network import CamNetwork, WeightRule

GRID_STRIDE = 16
"""Pixels a position of the grid that all steps run on, whatever the network's output stride."""


def hierarchical(stages: Sequence[Tensor], strides: Sequence[int], heads: Iterable[nn.Module] | None = None) -> Tensor:
    """Each stage's features, averaged over the cells of the stride-16 grid, scaled to length 1, side by side.

    Evidence: SIPE and SFC join the stages through trained side heads; joining them as they are is our
    inference for weights without such heads. Pooled first, because that costs least (a bias-free head commutes
    with the mean), and scaled last, so that all stages weigh alike.

    Args:
        stages: (B, D_s, h_s, w_s) each; strides: pixels a position of each, divisors of 16.
        heads: a projection of each stage, D_s → D'_s channels; None leaves them as they are.

    Returns:
        (B, Σ D_s, h, w), in the stages' precision.
    """
    pooled = [pool(one, GRID_STRIDE // stride) for one, stride in zip(stages, strides, strict=True)]
    if heads is not None:
        pooled = [head(one) for head, one in zip(heads, pooled, strict=True)]
    found = [unit(one).unflatten(2, one.shape[-2:]) for one in pooled]
    return torch.cat(found, 1)


def strides_of(network: CamNetwork) -> tuple[int, int, int, int]:
    """Pixels a position of the outputs of layer1 to layer4."""
    last = network.backbone.output_stride
    return 4, 8, last, last


@dataclass(frozen=True)
class Cpmc:
    """Classifier-Prototype Mutual Calibration, re-implemented from its abstract.

    Attributes:
        recommended: the rule behind `auto` where the network has a second classifier.
    """

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
                "these weights have no heads for --cpmc-features heads; train them with `pseudomask calibrate`, "
                "or leave the flag out"
            )

    def activate(self, network: CamNetwork, images: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        """Max-normalised maps, so that all sizes and both mirrors weigh the same in the sum."""
        if self.settings.output == "calibrated":
            return self.stages(network, images, index, valid).output
        context = pool(network.backbone(images), GRID_STRIDE // network.backbone.output_stride)  # (B, D, h, w)
        maps = present_class_maps(context, network.map_weights(self.rule(network)), index)
        return refined_map(maps, context, valid, self.settings)[1]

    def stages(self, network: CamNetwork, images: Tensor, index: Tensor, valid: Tensor) -> Stages:
        """What every step makes of photos at one size; arguments as for `activate`."""
        features = network.backbone.stages(images)
        context = pool(features[-1], GRID_STRIDE // network.backbone.output_stride)  # (B, D, h, w)
        maps = present_class_maps(context, network.map_weights(self.rule(network)), index)
        h = context
        if self.settings.features != "layer4":
            h = hierarchical(features, strides_of(network), self.heads(network))
        return run_stages(maps, context, h, valid, self.settings)
