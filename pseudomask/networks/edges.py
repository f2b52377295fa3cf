"""The boundary head: the probability of a border between two classes at each position (IRN, Ahn et al., CVPR 2019).

IRN's second head, which predicts displacements to object centres, is left out: only instance masks need it, and it
shares no trainable weight with this head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudomask.networks.backbones.backbone import Backbone, OnBackbone
from pseudomask.networks.features import Features

EDGE_STRIDE = 4
"""Pixels of the photo per boundary value."""
_WIDTH = 32
_GROUPS = 4


class Seen(NamedTuple):
    """What the head sees in photos (H, W).

    Attributes:
        edges: (B, ⌈H/4⌉, ⌈W/4⌉), logits of the boundary.
        classes: (B, 1 + C, ⌈H/4⌉, ⌈W/4⌉), logits of background and of each class; None where the head knows none.
    """

    edges: Tensor
    classes: Tensor | None

    def mean(self, other: Seen) -> Seen:
        """The mean logits of two views of the same photos."""
        both = None if self.classes is None or other.classes is None else (self.classes + other.classes).float() / 2
        return Seen((self.edges + other.edges).float() / 2, both)

    def mirrored(self) -> Seen:
        return Seen(self.edges.flip(-1), None if self.classes is None else self.classes.flip(-1))


class EdgeHead(nn.Module):
    """A head on the outputs of a backbone's stem and stages; its weights are a file of their own.

    Args:
        classes: how many classes it tells apart, beside finding boundaries; 0: none.

    Attributes:
        taps: for each output a bias-free 1×1 convolution to 32 channels, group norm and ReLU.
        edge: (1, 32 · outputs, 1, 1), with bias, on all of them at stride 4.
        classes: (1 + C, 32 · outputs, 1, 1), likewise, background first; or None. Ours: IRN has no such part.
    """

    def __init__(self, backbone: Backbone, classes: int = 0) -> None:
        super().__init__()
        self.taps = nn.ModuleList(_tap(dim) for dim in backbone.channels)
        self.edge = nn.Conv2d(len(self.taps) * _WIDTH, 1, 1)
        self.classes = nn.Conv2d(len(self.taps) * _WIDTH, 1 + classes, 1) if classes else None

    def forward(self, features: Features) -> Tensor:
        """Features of photos (H, W) → logits of the boundary alone (B, ⌈H/4⌉, ⌈W/4⌉)."""
        return self.see(features).edges

    def see(self, features: Features) -> Seen:
        """All that it sees in the photos of these features."""
        h, w = (-(-side // EDGE_STRIDE) for side in features.size)
        planes = []
        for tap, output, stride in zip(self.taps, features.outputs, features.strides, strict=True):
            plane = tap(output)
            if stride != EDGE_STRIDE:
                size = [-(-side * stride // EDGE_STRIDE) for side in plane.shape[-2:]]
                plane = F.interpolate(plane, size=size, mode="bilinear", align_corners=False)
            planes.append(plane[..., :h, :w])
        joined = torch.cat(planes, 1)  # (B, 32 · outputs, h, w)
        return Seen(self.edge(joined)[:, 0], None if self.classes is None else self.classes(joined))


def _tap(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(dim, _WIDTH, 1, bias=False), nn.GroupNorm(_GROUPS, _WIDTH), nn.ReLU())


class EdgeNetwork(OnBackbone):
    """A frozen backbone with a boundary head, for training and for the walk."""

    def __init__(self, backbone: Backbone, classes: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone.freeze("all")
        self.head = EdgeHead(backbone, classes)

    def train(self, mode: bool = True) -> EdgeNetwork:
        super().train(mode)
        self.backbone.eval()
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in `nn.Module`; also accepts checkpoints of 0.1.0."""
        return super().load_state_dict(with_heads_names(dict(state_dict)), strict, assign)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised → logits of the boundary (B, ⌈H/4⌉, ⌈W/4⌉). No gradient reaches the backbone."""
        return self.see(x).edges

    def see(self, x: Tensor) -> Seen:
        """All that the head sees in (B, 3, H, W), normalised."""
        with torch.no_grad():
            features = self.backbone(x)
        return self.head.see(features)


def with_heads_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a 0.1.0 file, renamed to those of `EdgeNetwork`."""
    return {f"head.{name}" if name.startswith(("taps.", "edge.")) else name: one for name, one in tensors.items()}


def look(network: EdgeNetwork, x: Tensor) -> Seen:
    """The mean logits of photos, (B, 3, H, W) normalised, and their mirror images, in float32."""
    return network.see(x).mean(network.see(x.flip(-1)).mirrored())


def boundaries(network: EdgeNetwork, x: Tensor) -> Tensor:
    """Boundary probabilities, from the mean logit of photos and their mirror images.

    Args:
        x: (B, 3, H, W), normalised.

    Returns:
        (B, ⌈H/4⌉, ⌈W/4⌉) float32 in [0, 1].
    """
    return torch.sigmoid(look(network, x).edges)
