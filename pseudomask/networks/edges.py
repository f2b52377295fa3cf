"""The boundary head: the probability of a border between two classes at each position (IRN, Ahn et al., CVPR 2019).

IRN's second head, which predicts displacements to object centres, is left out: only instance masks need it, and it
shares no trainable weight with this head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudomask.networks.backbones.backbone import Backbone, OnBackbone
from pseudomask.networks.features import Features

EDGE_STRIDE = 4
"""Pixels of the photo per boundary value."""
_WIDTH = 32
_GROUPS = 4


class EdgeHead(nn.Module):
    """A head on the outputs of a backbone's stem and stages, saved in a file of its own.

    Attributes:
        taps: for each output, a bias-free 1×1 convolution to 32 channels, group norm and ReLU.
        edge: 1×1 convolution with bias from all taps at stride 4 to one logit, (1, 32 · outputs, 1, 1).
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.taps = nn.ModuleList(_tap(dim) for dim in backbone.channels)
        self.edge = nn.Conv2d(len(self.taps) * _WIDTH, 1, 1)

    def forward(self, features: Features) -> Tensor:
        """Features of photos (H, W) → logits (B, ⌈H/4⌉, ⌈W/4⌉)."""
        h, w = (-(-side // EDGE_STRIDE) for side in features.size)
        planes = []
        for tap, output, stride in zip(self.taps, features.outputs, features.strides, strict=True):
            plane = tap(output)
            if stride != EDGE_STRIDE:
                size = [-(-side * stride // EDGE_STRIDE) for side in plane.shape[-2:]]
                plane = F.interpolate(plane, size=size, mode="bilinear", align_corners=False)
            planes.append(plane[..., :h, :w])
        logits: Tensor = self.edge(torch.cat(planes, 1))  # (B, 1, h, w)
        return logits[:, 0]


def _tap(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(dim, _WIDTH, 1, bias=False), nn.GroupNorm(_GROUPS, _WIDTH), nn.ReLU())


class EdgeNetwork(OnBackbone):
    """A frozen backbone with a boundary head, for training and for the walk."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone.freeze("all")
        self.head = EdgeHead(backbone)

    def train(self, mode: bool = True) -> EdgeNetwork:
        super().train(mode)
        self.backbone.eval()
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in `nn.Module`; also accepts checkpoints of 0.1.0."""
        return super().load_state_dict(with_heads_names(dict(state_dict)), strict, assign)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → logits (B, ⌈H/4⌉, ⌈W/4⌉). No gradient reaches the backbone."""
        with torch.no_grad():
            features = self.backbone(x)
        logits: Tensor = self.head(features)
        return logits


def with_heads_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a 0.1.0 file, renamed to those of `EdgeNetwork`."""
    return {f"head.{name}" if name.startswith(("taps.", "edge.")) else name: one for name, one in tensors.items()}


def boundaries(network: EdgeNetwork, x: Tensor) -> Tensor:
    """Boundary probabilities, from the mean logit of photos and their mirror images.

    Args:
        x: (B, 3, H, W), normalised.

    Returns:
        (B, ⌈H/4⌉, ⌈W/4⌉) float32 in [0, 1].
    """
    mirrored = network(x.flip(-1)).flip(-1)
    return torch.sigmoid((network(x) + mirrored).float() / 2)
