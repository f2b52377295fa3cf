"""Optimise a ResNet for inference: fold batch norm, fuse convolution, shortcut and ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck


def fold_resnet(network: nn.Module, stages: Sequence[str], dtype: torch.dtype | None) -> None:
    """Change a ResNet's `stem` and stages in place (see `Backbone.fold`).

    Batch norm with stored statistics is a linear map, so it is folded into the convolution before it. On CPUs, one
    oneDNN call computes a convolution, adds the shortcut and applies the ReLU: in bf16, the memory traffic between the
    three costs as much as the arithmetic.
    """
    fused = _fused_calls_work(next(network.parameters()).device, dtype)
    conv, norm, _relu, pool = network.get_submodule("stem").children()
    network.stem = nn.Sequential(FoldedConv(conv, norm, dtype, fused, relu=True), pool)
    for name in stages:
        blocks = network.get_submodule(name).children()
        folded = [FoldedBlock(block, dtype, fused, owns_input=i > 0) for i, block in enumerate(blocks)]
        setattr(network, name, nn.Sequential(*folded))
    network.requires_grad_(False).to(memory_format=torch.channels_last)


class FoldedConv(nn.Module):
    """A convolution with folded batch norm, and optionally a shortcut and a ReLU."""

    def __init__(self, conv: nn.Module, norm: nn.Module, dtype: torch.dtype | None, fused: bool, *, relu: bool) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(conv.padding, tuple)
        folded = fuse_conv_bn_eval(conv.eval(), norm.eval()).to(dtype)
        assert folded.bias is not None
        self.weight, self.bias = nn.Parameter(folded.weight.detach()), nn.Parameter(folded.bias.detach())
        self.padding, self.stride = conv.padding, conv.stride
        self.dilation, self.groups = conv.dilation, conv.groups
        self.fused, self.relu = fused, relu

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """(B, D, h, w) → (B, D', h', w'); `shortcut` has the shape of the result and may be overwritten."""
        x = x.to(self.weight.dtype)
        if self.fused:
            where = (self.padding, self.stride, self.dilation, self.groups)
            return _fused(x, self.weight, self.bias, where, shortcut, self.relu)
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        if shortcut is not None:
            y += shortcut
        return y.relu_() if self.relu else y


def _fused(
    x: Tensor, weight: Tensor, bias: Tensor, where: tuple[Any, ...], shortcut: Tensor | None, relu: bool
) -> Tensor:
    """oneDNN's fused convolution, as called by torch's compiler; the sum overwrites `shortcut`."""
    y: Tensor
    if shortcut is None:
        y = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *where, "relu" if relu else "none", [], "")
    else:
        y = torch.ops.mkldnn._convolution_pointwise_.binary(
            shortcut, x, weight, bias, *where, "add", None, "relu" if relu else None, [], ""
        )
    return y


class FoldedBlock(nn.Module):
    """One residual block. `owns_input`: nothing else reads its input, so the sum may overwrite it."""

    def __init__(self, block: nn.Module, dtype: torch.dtype | None, fused: bool, *, owns_input: bool) -> None:
        super().__init__()
        assert isinstance(block, BasicBlock | Bottleneck)
        pairs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
        if isinstance(block, Bottleneck):
            pairs.append((block.conv3, block.bn3))
        self.convs = nn.ModuleList(FoldedConv(conv, norm, dtype, fused, relu=True) for conv, norm in pairs)
        self.shortcut: nn.Module
        if block.downsample is not None:
            self.shortcut = FoldedConv(block.downsample[0], block.downsample[1], dtype, fused, relu=False)
        else:
            self.shortcut = nn.Identity() if owns_input else _Copy()

    def forward(self, x: Tensor) -> Tensor:
        *first, last = self.convs
        y: Tensor = x
        for conv in first:
            y = conv(y)
        y = last(y, self.shortcut(x))
        return y


class _Copy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def _fused_calls_work(device: torch.device, dtype: torch.dtype | None) -> bool:
    """Whether torch has oneDNN's fused convolutions and they give the same result as plain ones here."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    conv, norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
    nn.init.normal_(conv.weight, generator=generator)
    x = torch.randn(1, 8, 5, 5, generator=generator).to(dtype).to(memory_format=torch.channels_last)
    plain, fused = (FoldedConv(conv.eval(), norm.eval(), dtype, way, relu=True).eval() for way in (False, True))
    with torch.inference_mode():
        try:
            found = fused(x), fused(x, x.clone())
        except (RuntimeError, AttributeError, NotImplementedError, TypeError):
            return False
        wanted = plain(x), plain(x, x.clone())
    return all(torch.allclose(a.float(), b.float(), rtol=0.05, atol=0.05) for a, b in zip(found, wanted, strict=True))
