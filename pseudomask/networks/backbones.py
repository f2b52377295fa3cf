"""Backbones: every torchvision ResNet at output stride 16 or 8, behind one registry.

The layout is that of the CAM literature (ReCAM, Chen et al., CVPR 2022; IRN, Ahn et al., CVPR 2019):
at stride 16 the last stage runs at stride 1 *without* dilation; at stride 8 the last two stages run
at stride 1 with dilation 2 in every 3×3 convolution after the stride that is gone, so that every second
feature is the one of stride 16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

import torch
import torchvision.models as models
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from pseudomask.config import Style
from pseudomask.errors import UsageError, WeightsError
from pseudomask.suggest import did_you_mean

FREEZE_POINTS = ("none", "stem", "layer1", "layer2", "layer3", "layer4")
"""`--freeze X` holds everything up to and including X fixed; ReCAM freezes the stem, IRN up to layer2."""


@dataclass(frozen=True)
class BackboneSpec:
    """One line of the registry: how to build it, and torchvision's pretrained weights by default."""

    build: Callable[..., ResNet]
    weights: str


BACKBONES: dict[str, BackboneSpec] = {
    "resnet18": BackboneSpec(models.resnet18, "IMAGENET1K_V1"),
    "resnet34": BackboneSpec(models.resnet34, "IMAGENET1K_V1"),
    "resnet50": BackboneSpec(models.resnet50, "IMAGENET1K_V1"),
    "resnet101": BackboneSpec(models.resnet101, "IMAGENET1K_V1"),
    "resnet152": BackboneSpec(models.resnet152, "IMAGENET1K_V1"),
    "resnext50_32x4d": BackboneSpec(models.resnext50_32x4d, "IMAGENET1K_V1"),
    "resnext101_32x8d": BackboneSpec(models.resnext101_32x8d, "IMAGENET1K_V1"),
    "resnext101_64x4d": BackboneSpec(models.resnext101_64x4d, "IMAGENET1K_V1"),
    "wide_resnet50_2": BackboneSpec(models.wide_resnet50_2, "IMAGENET1K_V1"),
    "wide_resnet101_2": BackboneSpec(models.wide_resnet101_2, "IMAGENET1K_V1"),
}


def spec_of(name: str) -> BackboneSpec:
    """The registry's entry; `UsageError` lists the valid names."""
    try:
        return BACKBONES[name]
    except KeyError:
        raise UsageError(
            f"unknown backbone {name!r}{did_you_mean(name, BACKBONES)}; there are {', '.join(BACKBONES)}"
        ) from None


def _set_stride(layer: nn.Sequential, stride: int, style: Style) -> None:
    """Give a stage its stride, in the convolution that `style` names; the shortcut follows."""
    block = layer[0]
    assert isinstance(block, BasicBlock | Bottleneck)
    if isinstance(block, Bottleneck):
        block.conv1.stride = (stride, stride) if style == "caffe" else (1, 1)
        block.conv2.stride = (stride, stride) if style == "pytorch" else (1, 1)
    elif style == "caffe":
        raise UsageError("the caffe stride style is for bottleneck networks (resnet50 and up)")
    else:
        block.conv1.stride = (stride, stride)
    if block.downsample is not None:
        shortcut = block.downsample[0]
        assert isinstance(shortcut, nn.Conv2d)
        shortcut.stride = (stride, stride)
    block.stride = stride


def _after_stride(layer: nn.Sequential, style: Style) -> list[nn.Module]:
    """The parts of a stage that come after the convolution with the stride, and saw its coarser grid."""
    first, *rest = layer
    assert isinstance(first, BasicBlock | Bottleneck)
    # in a bottleneck of the pytorch style the stride is in the 3×3 convolution itself, the only one
    return rest if isinstance(first, Bottleneck) and style == "pytorch" else [first.conv2, *rest]


def _dilate(parts: Iterable[nn.Module], dilation: int) -> None:
    for block in parts:
        for conv in block.modules():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)


class Backbone(nn.Module):
    """A ResNet without its pooling and classifier: (B, 3, H, W) → (B, D, ⌈H/16⌉, ⌈W/16⌉).

    Batch norm always uses its stored statistics (they are never updated), because the batches of this
    field are small; its scale and shift train, except in what `freeze` holds fixed.
    """

    def __init__(self, name: str, *, style: Style = "pytorch", output_stride: int = 16) -> None:
        super().__init__()
        if output_stride not in (8, 16):
            raise UsageError(f"output stride must be 16 or 8, not {output_stride}")
        if style not in get_args(Style):
            raise UsageError(f"unknown style {style!r}; there are {', '.join(get_args(Style))}")
        net = spec_of(name).build(weights=None)
        self.name, self.style, self.output_stride = name, style, output_stride
        self.dim: int = net.fc.in_features
        self.stem_dim: int = net.conv1.out_channels
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        _set_stride(self.layer2, 2, style)
        _set_stride(self.layer3, 2 if output_stride == 16 else 1, style)
        _set_stride(self.layer4, 1, style)
        if output_stride == 8:
            _dilate(_after_stride(self.layer3, style), 2)
            _dilate(self.layer4, 2)
        self.frozen: tuple[str, ...] = ()

    @property
    def stage_dims(self) -> tuple[int, int, int, int]:
        """Channels of layer1 to layer4."""
        return self.dim // 8, self.dim // 4, self.dim // 2, self.dim

    def taps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) → outputs of the stem and layer1 (stride 4), layer2 (8), layer3 (16), layer4 (16)."""
        outputs = []
        for name in FREEZE_POINTS[1:]:
            with torch.set_grad_enabled(torch.is_grad_enabled() and name not in self.frozen):
                x = getattr(self, name)(x)
            outputs.append(x)
        return outputs[0], outputs[1], outputs[2], outputs[3], outputs[4]

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) → outputs of layer1 (stride 4), layer2 (8), layer3 (16), layer4 (16)."""
        return self.taps(x)[1:]

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)[3]

    def freeze(self, point: str) -> None:
        """Hold everything up to and including `point` (one of FREEZE_POINTS) fixed."""
        if point not in FREEZE_POINTS:
            raise UsageError(f"unknown freeze point {point!r}; there are {', '.join(FREEZE_POINTS)}")
        self.frozen = FREEZE_POINTS[1 : FREEZE_POINTS.index(point) + 1]
        for name in FREEZE_POINTS[1:]:
            for parameter in getattr(self, name).parameters():
                parameter.requires_grad_(name not in self.frozen)

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def load_torchvision(self, state: dict[str, Tensor]) -> None:
        """Load a state dict in torchvision's naming (`conv1.weight`, `layer1.0.…`); `fc.*` is ignored.

        Raises `WeightsError` when names or shapes differ.
        """
        names = {"conv1": "stem.0", "bn1": "stem.1"}  # torchvision's stem is ours by position
        renamed = {}
        for key, value in state.items():
            module, _, rest = key.partition(".")
            if module != "fc":
                renamed[f"{names.get(module, module)}.{rest}"] = value.float() if value.is_floating_point() else value
        own = self.state_dict()
        missing = [k for k in own if k not in renamed and not k.endswith("num_batches_tracked")]
        foreign = [k for k in renamed if k not in own]
        wrong = [k for k in own if k in renamed and own[k].shape != renamed[k].shape]
        if missing or foreign or wrong:
            first = (missing + foreign + wrong)[0]
            raise WeightsError(
                f"these weights are not a {self.name}: {len(missing)} tensors missing, {len(foreign)} unknown, "
                f"{len(wrong)} of another shape (first: {first})"
            )
        self.load_state_dict(renamed, strict=False)
