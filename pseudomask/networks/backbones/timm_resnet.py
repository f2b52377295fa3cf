"""timm's ResNets at our strides, which are those of the CAM literature (`backbones/resnet.py`)."""

from __future__ import annotations

from typing import Any

from torch import nn

from pseudomask.config import Style
from pseudomask.errors import UsageError


def set_strides(net: Any, style: Style) -> bool:
    """Change a ResNet that timm made at some output stride into ours at that stride; False for any other network.

    timm dilates every stage whose stride it takes away, we none at stride 16, and by 2 at stride 8.
    """
    from timm.models.resnet import ResNet

    if not isinstance(net, ResNet):
        return False
    stages: list[Any] = [net.layer2, net.layer3, net.layer4]
    if style == "caffe":
        for stage in stages:
            _stride_first(stage[0])
    stride: Any = net.feature_info[-1]["reduction"]
    if stride == 8:
        _dilate(_after_stride(stages[1], style), 2)
    if stride < 32:
        _dilate(list(stages[2]), 2 if stride == 8 else 1)
    return True


def _stride_first(block: Any) -> None:
    """Move a bottleneck's stride to its first 1×1 convolution."""
    if not hasattr(block, "conv3") or block.conv1.kernel_size != (1, 1) or not isinstance(block.aa, nn.Identity | None):
        raise UsageError("the caffe stride style needs a bottleneck network (resnet50 and up)")
    block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)


def _after_stride(stage: Any, style: Style) -> list[Any]:
    first, *rest = stage
    return rest if hasattr(first, "conv3") and style == "pytorch" else [first.conv2, *rest]


def _dilate(parts: list[Any], dilation: int) -> None:
    for part in parts:
        for name, conv in part.named_modules():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3) and "downsample" not in name:
                conv.dilation = conv.padding = (dilation, dilation)
