"""Segmentation networks: any backbone under torchvision's DeepLabV3 or LR-ASPP head, and their weights files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.lraspp import LRASPPHead

from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.backbones.backbone import Backbone, OnBackbone
from pseudomask.networks.card import AFFINITY, SEGMENTER, Card
from pseudomask.networks.checkpoint import load_tensors, read_tensors
from pseudomask.networks.features import Features, grown

_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Dilations of DeepLabV3's head by output stride (Chen et al., 2017, §4)."""
_WIDTH = 128  # channels of LR-ASPP


class DeepLab(nn.Module):
    """DeepLabV3's head on the last stage: features → logits (B, labels, h, w)."""

    def __init__(self, backbone: Backbone, labels: int) -> None:
        super().__init__()
        rates = _RATES.get(backbone.output_stride)
        if rates is None:
            raise UsageError(f"deeplabv3 needs a backbone of output stride 16 or 8; {backbone.name} has no such stride")
        self.stride = backbone.output_stride
        self.layers = DeepLabHead(backbone.dim, labels, atrous_rates=rates)

    def forward(self, features: Features) -> Tensor:
        found: Tensor = self.layers(features.last)
        return found


class Lraspp(nn.Module):
    """LR-ASPP (Howard et al., ICCV 2019) on the last stage and the first output at stride 8, whose grid it has."""

    def __init__(self, backbone: Backbone, labels: int) -> None:
        super().__init__()
        if 8 not in backbone.strides:
            raise UsageError(f"lraspp needs features at stride 8; {backbone.name} has none")
        self.stride, self.low = 8, backbone.strides.index(8)
        self.layers = LRASPPHead(backbone.channels[self.low], backbone.dim, labels, _WIDTH)

    def forward(self, features: Features) -> Tensor:
        found: Tensor = self.layers({"low": features.outputs[self.low], "high": features.last})
        return found


HEADS: dict[str, type[DeepLab] | type[Lraspp]] = {"deeplabv3": DeepLab, "lraspp": Lraspp}


class Segmenter(OnBackbone):
    """Backbone and head; label 0 is background, label i + 1 the class at position i."""

    def __init__(self, backbone: Backbone, head: str, labels: int) -> None:
        super().__init__()
        self.backbone, self.labels = backbone, labels
        self.head = HEADS[head](backbone, labels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised → logits (B, labels, H, W)."""
        with self._one_photo() if self.training and len(x) == 1 else _nothing():
            features = self.backbone(x)
            low = self.head(features)
        return grown(low, self.head.stride, 1, (x.shape[-2], x.shape[-1]), fitted=features.fitted)

    @contextmanager
    def _one_photo(self) -> Iterator[None]:
        """With stored statistics in batch norm: those of a single photo's pooled features have no spread."""
        norms = [module for module in self.head.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
        for module in norms:
            module.eval()
        yield
        for module in norms:
            module.train()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def make_segmenter(network: str, classes: int, **backbone: Any) -> Segmenter:
    """A network with random weights.

    Args:
        network: "deeplabv3_…" or "lraspp_…"; the backbone is named again in `backbone`, the arguments of
            `make_backbone`.
        classes: without the background.

    Raises `UsageError` for an unknown backbone, or one that the head cannot use.
    """
    return Segmenter(make_backbone(**backbone), network.partition("_")[0], classes + 1)


def read_segmenter(path: Path) -> tuple[dict[str, Tensor], Card]:
    """Tensors and card of a weights file. Raises `WeightsError`, with the right verb, if it is not a segmenter's."""
    tensors, metadata = read_tensors(path)
    card = Card.from_metadata(metadata, str(path))
    if card.method == AFFINITY:
        raise WeightsError(f"{path}: a boundary head, not a segmentation network; give it to `refine --affinity`")
    if card.method != SEGMENTER:
        raise WeightsError(
            f"{path}: a classifier, not a segmentation network; make masks with `pseudomask extract --weights`, then "
            "train a segmentation network on them with `pseudomask train-seg`"
        )
    if card.segmenter.get("network", "").partition("_")[0] not in HEADS:
        raise WeightsError(f"{path}: its card is damaged (no known segmentation network)")
    return tensors, card


def load_segmenter(path: Path) -> tuple[Segmenter, Card]:
    """The network in float32 on the CPU, in evaluation mode, and its card. Raises `WeightsError` as `load_network`."""
    tensors, card = read_segmenter(path)
    network = card.segmenter["network"]
    return (
        load_tensors(card, str(path), lambda: make_segmenter(network, len(card.classes), **card.network), tensors),
        card,
    )


def likeliest(network: Segmenter, pixels: Tensor, amp: torch.dtype | None) -> Tensor:
    """The probability of each label: uint8 (B, H, W, 3) → float32 (B, labels, H, W)."""
    with torch.inference_mode(), torch.autocast(pixels.device.type, amp, enabled=amp is not None):
        logits: Tensor = network(network.backbone.normalisation.to_input(pixels, amp))
    return logits.float().softmax(1)
