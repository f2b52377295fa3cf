"""The boundary head: the probability of a border between two classes at each position (IRN, Ahn et al., CVPR 2019).

IRN's second head, which predicts displacements to object centres, is left out: only instance masks need it, and it
shares no trainable weight with this head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pseudomask.networks.backbones.backbone import Backbone, OnBackbone
from pseudomask.networks.features import Features, grown
from pseudomask.networks.pointwise import Pointwise

EDGE_STRIDE = 4
"""Pixels of the photo per boundary value."""
_WIDTH = 32
_GROUPS = 4


class EdgeHead(nn.Module):
    """A head on the outputs of a backbone's stem and stages; its weights are stored in their own file.

    Args:
        classes: number of classes it predicts besides boundaries; 0 for none.

    Attributes:
        taps: for each output a bias-free 1×1 convolution to 32 channels, group norm and ReLU.
        edge: (1, 32 · outputs, 1, 1), with bias, on all of them at stride 4.
        classes: (1 + C, 32 · outputs, 1, 1), likewise, background first; or None. Ours: IRN has no such part.
    """

    def __init__(self, backbone: Backbone, classes: int = 0) -> None:
        super().__init__()
        self.taps = nn.ModuleList(_tap(dim) for dim in backbone.channels)
        self.edge = Pointwise(len(self.taps) * _WIDTH, 1)
        self.classes = Pointwise(len(self.taps) * _WIDTH, 1 + classes) if classes else None

    @property
    def planes(self) -> int:
        """Number of logits that `see` returns per position."""
        return 1 + (0 if self.classes is None else self.classes.out_channels)

    def forward(self, features: Features) -> Tensor:
        """Features of photos (H, W) → logits of the boundary alone (B, ⌈H/4⌉, ⌈W/4⌉)."""
        return self.see(features)[:, 0]

    def see(self, features: Features) -> Tensor:
        """Logits (B, 1 or 2 + C, ⌈H/4⌉, ⌈W/4⌉): the boundary and, if it predicts classes, background and classes."""
        h, w = (-(-side // EDGE_STRIDE) for side in features.size)
        planes = []
        for tap, output, stride in zip(self.taps, features.outputs, features.strides, strict=True):
            planes.append(grown(tap(output), stride, EDGE_STRIDE, (h, w), fitted=features.fitted))
        joined = torch.cat(planes, 1)  # (B, 32 · outputs, h, w)
        edges: Tensor = self.edge(joined)
        return edges if self.classes is None else torch.cat([edges, self.classes(joined)], 1)


def _tap(dim: int) -> nn.Sequential:
    return nn.Sequential(Pointwise(dim, _WIDTH, bias=False), nn.GroupNorm(_GROUPS, _WIDTH), nn.ReLU())


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
        return self.see(x)[:, 0]

    def see(self, x: Tensor) -> Tensor:
        """All logits of the head, as `EdgeHead.see`."""
        with torch.no_grad():
            features = self.backbone(x)
        return self.head.see(features)


def with_heads_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a 0.1.0 file, renamed to those of `EdgeNetwork`."""
    return {f"head.{name}" if name.startswith(("taps.", "edge.")) else name: one for name, one in tensors.items()}


def boundaries(network: EdgeNetwork, x: Tensor) -> Tensor:
    """The probability of a boundary at each position.

    Args:
        x: (B, 3, H, W), normalised.

    Returns:
        (B, ⌈H/4⌉, ⌈W/4⌉) float32 in [0, 1].
    """
    return torch.sigmoid(network(x).float())


def seen_in(head: EdgeHead, features: Features, amp: torch.dtype | None) -> Tensor:
    """The head's logits, float32, one photo at a time, so the rest of the batch has no effect (see `EdgeHead.see`).

    Args:
        features: the output of the head's backbone.
        amp: the precision in which the features were computed.
    """
    device = features.last.device.type
    with torch.inference_mode(), torch.autocast(device, amp, enabled=amp is not None):
        return torch.cat([head.see(features.part(i)).float() for i in range(len(features.last))])
