"""CPMC as a map method: works with any classifier's weights; those of `calibrate` add heads (docs/methods-cpmc.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pseudomask.config import WeightRule
from pseudomask.errors import WeightsError
from pseudomask.maps.cam import key_of
from pseudomask.maps.cams.plain import Plain
from pseudomask.maps.cams.variant import Cam, NeedsOfCam
from pseudomask.maps.cpmc.affinity import pool, unit
from pseudomask.maps.cpmc.settings import CpmcSettings
from pseudomask.maps.cpmc.stages import Stages, refined_map, run_stages
from pseudomask.maps.method import MapMethod
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork

GRID_STRIDE = 16
"""Pixels per position of the grid that all steps run on, or as close to it as the last stage's stride allows."""


def grid_stride(last: int) -> int:
    """The largest multiple of the last stage's stride up to 16; the stride itself if it is above 16."""
    return last * max(1, GRID_STRIDE // last)


def context_of(features: Features) -> Tensor:
    """The last stage's features on the grid: (B, D, h, w)."""
    last = features.strides[-1]
    return pool(features.last, grid_stride(last) // last)


def attention_of(features: Features) -> Tensor | None:
    """The attention between the grid's positions, (B, h·w, h·w), if the backbone gave one."""
    if features.attention is None:
        return None
    size, last = features.last.shape[-2:], features.strides[-1]
    factor = grid_stride(last) // last
    if factor == 1:
        return features.attention
    keys = pool(features.attention.unflatten(2, size), factor).flatten(2)  # (B, P, Q)
    return pool(keys.mT.unflatten(2, size), factor).flatten(2).mT  # (B, Q, Q)


def hierarchical(features: Features, heads: Iterable[nn.Module] | None = None) -> Tensor:
    """Each stage's features, averaged over the cells of the grid, scaled to length 1, and concatenated.

    Evidence: SIPE and SFC join the stages through trained side heads; joining them as they are is our
    inference for weights without such heads. Pooling comes first, because that is cheapest (a bias-free head
    commutes with the mean), and scaling last, so that all stages weigh the same.

    Args:
        features: of all stages.
        heads: a projection for each stage, D_s → D'_s channels; None leaves the stages unchanged.

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
class Cpmc(NeedsOfCam, MapMethod):
    """Classifier-Prototype Mutual Calibration, re-implemented from its abstract.

    Attributes:
        recommended: the rule that `auto` stands for if the network has a second classifier.
        cam: the kind of class map that is calibrated.
    """

    pyramid = True
    walk_seeds = 0.5  # docs/quality.md

    settings: CpmcSettings = field(default_factory=CpmcSettings)
    recommended: WeightRule = "product"
    cam: Cam = field(default_factory=Plain)

    @property
    def attention(self) -> bool:
        return self.settings.affinity == "auto" and self.settings.refine in ("propagate", "both")

    @property
    def threshold_key(self) -> str:
        return key_of("cpmc", self.cam)

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
        self.cam.check(network, self.rule(network))
        if self.settings.features == "heads" and network.side_heads is None:
            raise WeightsError(
                "these weights have no heads for --cpmc-features heads; train them with `pseudomask calibrate`, or "
                "leave out the flag"
            )

    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        """Max-normalised maps, so that all sizes and both orientations weigh the same in the sum."""
        if self.settings.output == "calibrated":
            return self.stages(network, features, index, valid).output
        context, maps = self.start(network, features, index, valid)
        with torch.no_grad():
            return refined_map(maps, context, valid, self.settings, attention_of(features))[1]

    def stages(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Stages:
        """The output of every step for photos at one size; arguments as for `activate`."""
        context, maps = self.start(network, features, index, valid)
        alone = self.settings.features in ("last", "layer4")  # the latter is the former's name in 0.1.0
        with torch.no_grad():
            h = context if alone else hierarchical(features, self.heads(network))
            return run_stages(maps, context, h, valid, self.settings, attention_of(features))

    def start(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The last stage's features and the classifier's raw maps on the grid; neither has a graph."""
        context = context_of(features)
        weights = network.map_weights(self.rule(network))
        maps = classifier_maps(self.cam, network, features, context, weights, index, valid)
        return context.detach(), maps.detach()


def classifier_maps(
    cam: Cam, network: CamNetwork, features: Features, context: Tensor, weights: Tensor, index: Tensor, valid: Tensor
) -> Tensor:
    """S0 before scaling, (B, N, h, w): made from `context`, and averaged if it is on a finer grid."""
    on_grid = replace(features, outputs=(*features.outputs[:-1], context))
    maps = cam.maps(network, on_grid, weights, index, valid)
    size = context.shape[-2], context.shape[-1]
    return maps if maps.shape[-2:] == size else F.adaptive_avg_pool2d(maps, size)
