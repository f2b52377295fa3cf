"""The classification network whose weights make activation maps (ReCAM, Chen et al., CVPR 2022, §3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pseudomask.config import Style, WeightRule
from pseudomask.errors import WeightsError
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.backbones.backbone import OnBackbone
from pseudomask.networks.features import Features
from pseudomask.networks.pointwise import Pointwise


def side_dims(stages: int) -> tuple[int, ...]:
    """Channels of the heads on the stages; for four stages 128, 128, 256, 256, as in SIPE's public code."""
    return tuple(128 if k < stages // 2 else 256 for k in range(stages))


class CamNetwork(OnBackbone):
    """Backbone, a bias-free 1×1 classifier `w`, and (after `reactivate`) a second one `w″`.

    Attributes:
        classifier: w, (C, D, 1, 1); trained with binary cross-entropy on pooled features.
        reclassifier: w″, same shape, or None; trained with softmax cross-entropy on class features.
        tagger: (B, D) pooled features → logits, if `classifier` does not give them (`vocabulary`).
        side_heads: after `calibrate`, a bias-free 1×1 projection of each stage (SIPE, Chen et al., CVPR 2022);
            else None.
    """

    def __init__(
        self,
        n_classes: int,
        backbone: str = "resnet50",
        *,
        style: Style = "pytorch",
        output_stride: int = 16,
        reactivated: bool = False,
        calibrated: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = make_backbone(backbone, style=style, output_stride=output_stride)
        self.classifier = nn.Conv2d(self.backbone.dim, n_classes, 1, bias=False)
        self.tagger: nn.Module | None = None
        self.reclassifier: nn.Conv2d | None = None
        self.side_heads: nn.ModuleList | None = None
        if reactivated:
            self.add_reclassifier()
        if calibrated:
            self.add_side_heads()

    @property
    def n_classes(self) -> int:
        return self.classifier.out_channels

    def add_reclassifier(self) -> None:
        """Add the second classifier, randomly initialised."""
        self.reclassifier = nn.Conv2d(self.backbone.dim, self.n_classes, 1, bias=False)

    def add_side_heads(self) -> None:
        """Add CPMC's heads, randomly initialised."""
        channels = self.backbone.channels[1:]
        dims = zip(channels, side_dims(len(channels)), strict=True)
        self.side_heads = nn.ModuleList(Pointwise(d, side, bias=False) for d, side in dims)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → logits (B, C): global average pooling, then w."""
        return self.logits(self.backbone(x, pyramid=False))

    def logits(self, features: Features) -> Tensor:
        """Logits (B, C) in float32; the pooled product is too small to gain from mixed precision."""
        with torch.autocast(features.last.device.type, enabled=False):
            pooled = features.last.mean((2, 3), dtype=torch.float32)  # (B, D)
            if self.tagger is not None:
                found: Tensor = self.tagger(pooled)
                return found
            return pooled @ self.classifier.weight.flatten(1).T

    def map_weights(self, rule: WeightRule) -> Tensor:
        """The (C, D, 1, 1) weights that `rule` computes from w and w″.

        Raises `WeightsError` if the rule needs a second classifier and there is none.
        """
        if rule == "first":
            return self.classifier.weight
        if self.reclassifier is None:
            raise WeightsError(
                "these weights have no second classifier; train one with `pseudomask reactivate`, or give --method cam"
            )
        w, w2 = self.classifier.weight, self.reclassifier.weight
        return {"second": w2, "sum": w + w2}[rule] if rule != "product" else w * w2
