"""The boundary network: how likely each place lies on a border between two classes (IRN, Ahn et al., CVPR 2019).

IRN has a second head beside this one, for displacements to objects' centres, which tells instances apart. For
semantic masks nothing reads it. The backbone is frozen and the heads share no weight, so that the boundaries are
the same with and without it: it is left out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudomask.config import Style
from pseudomask.networks.backbones import Backbone
from pseudomask.networks.folding import OnBackbone

EDGE_STRIDE = 4
"""Pixels of the photo per boundary value."""
_WIDTH = 32
_GROUPS = 4


class EdgeNetwork(OnBackbone):
    """A frozen backbone, and a head on the outputs of its stem and its four stages.

    Attributes:
        taps: for each output a bias-free 1×1 convolution to 32 channels, group norm and ReLU.
        edge: (1, 160, 1, 1), with bias, on all of them at stride 4.
    """

    def __init__(self, backbone: str = "resnet50", *, style: Style = "pytorch", output_stride: int = 16) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, style=style, output_stride=output_stride)
        self.backbone.freeze("layer4")
        dims = (self.backbone.stem_dim, *self.backbone.stage_dims)
        self.taps = nn.ModuleList(_tap(dim) for dim in dims)
        self.factors = (1, 1, 2, output_stride // EDGE_STRIDE, output_stride // EDGE_STRIDE)
        self.edge = nn.Conv2d(len(dims) * _WIDTH, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → logits (B, ⌈H/4⌉, ⌈W/4⌉). No gradient reaches the backbone."""
        with torch.no_grad():
            outputs = self.backbone.taps(x)
        return self.head(outputs)

    def head(self, outputs: tuple[Tensor, ...]) -> Tensor:
        """The backbone's outputs, (B, D_k, h_k, w_k) from stride 4 on → logits (B, h_0, w_0)."""
        h, w = outputs[0].shape[-2:]
        planes = []
        for tap, output, factor in zip(self.taps, outputs, self.factors, strict=True):
            plane = tap(output)
            if factor > 1:
                plane = F.interpolate(plane, scale_factor=factor, mode="bilinear", align_corners=False)
            planes.append(plane[..., :h, :w])
        logits: Tensor = self.edge(torch.cat(planes, 1))  # (B, 1, h, w)
        return logits[:, 0]


def _tap(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(dim, _WIDTH, 1, bias=False), nn.GroupNorm(_GROUPS, _WIDTH), nn.ReLU())


def boundaries(network: EdgeNetwork, x: Tensor) -> Tensor:
    """The boundary's probability, from the mean logit of photos and their mirror images.

    Args:
        x: (B, 3, H, W), normalised.

    Returns:
        (B, ⌈H/4⌉, ⌈W/4⌉) float32 in [0, 1].
    """
    mirrored = network(x.flip(-1)).flip(-1)
    return torch.sigmoid((network(x) + mirrored).float() / 2)
