"""Optimise a ResNet for inference: fold batch norm, fuse convolution, shortcut and ReLU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck

from pseudomask.networks.backbones.frames import Clip, Frame
from pseudomask.networks.backbones.fused_calls import Calls, calls_for


def fold_resnet(network: nn.Module, stages: Sequence[str], dtype: torch.dtype | None) -> Frame:
    """Change a ResNet's `stem` and stages in place (see `Backbone.fold`).

    Batch norm with stored statistics is a linear map, so it is folded into the convolution before it. One call of
    oneDNN or cuDNN computes a convolution, adds the shortcut and applies the ReLU: in bf16, the memory traffic between
    the three costs as much as the arithmetic. Returns what lets it see photos of several sizes at once.
    """
    fused, frame = calls_for(next(network.parameters()).device, dtype, FoldedConv), Frame()
    conv, norm, _relu, pool = network.get_submodule("stem").children()
    network.stem = nn.Sequential(FoldedConv(conv, norm, dtype, fused, relu=True), Clip(frame), pool)
    for name in stages:
        blocks = network.get_submodule(name).children()
        folded = [FoldedBlock(block, dtype, fused, frame, owns_input=i > 0) for i, block in enumerate(blocks)]
        setattr(network, name, nn.Sequential(*folded))
    network.requires_grad_(False).to(memory_format=torch.channels_last)
    return frame


class FoldedConv(nn.Module):
    """A convolution with folded batch norm, and optionally a shortcut and a ReLU."""

    def __init__(
        self,
        conv: nn.Module,
        norm: nn.Module,
        dtype: torch.dtype | None,
        fused: Calls | None,
        frame: Frame | None = None,
        *,
        relu: bool,
    ) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(conv.padding, tuple)
        folded = fuse_conv_bn_eval(conv.eval(), norm.eval()).to(dtype)
        assert folded.bias is not None
        self.weight = nn.Parameter(folded.weight.detach())
        self.bias: nn.Parameter | None = nn.Parameter(folded.bias.detach())
        self.padding, self.stride = conv.padding, conv.stride
        self.dilation, self.groups = conv.dilation, conv.groups
        self.relu = relu
        self.frame = frame if max(conv.kernel_size) > 1 else None
        self.fused = fused if fused is not None and fused.takes(self) else None

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """(B, D, h, w) → (B, D', h', w'); `shortcut` has the shape of the result and may be overwritten."""
        x = x.to(self.weight.dtype) if self.frame is None else self.frame.clip(x.to(self.weight.dtype))
        if self.fused is not None:
            y = self.fused.run(self, x, shortcut)
            if y is not None:
                return y
            self.fused = None  # from now on plain
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        if shortcut is not None:
            y += shortcut
        return y.relu_() if self.relu else y


class FoldedBlock(nn.Module):
    """One residual block. `owns_input`: nothing else reads its input, so the sum may overwrite it."""

    def __init__(
        self, block: nn.Module, dtype: torch.dtype | None, fused: Calls | None, frame: Frame, *, owns_input: bool
    ) -> None:
        super().__init__()
        assert isinstance(block, BasicBlock | Bottleneck)
        pairs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
        if isinstance(block, Bottleneck):
            pairs.append((block.conv3, block.bn3))
        self.convs = nn.ModuleList(FoldedConv(conv, norm, dtype, fused, frame, relu=True) for conv, norm in pairs)
        self.shortcut: nn.Module
        if block.downsample is not None:
            self.shortcut = FoldedConv(block.downsample[0], block.downsample[1], dtype, fused, relu=False)
            if fused is not None and not fused.adds_bias:
                self._give_last_the_bias_of(self.shortcut)
        else:
            self.shortcut = nn.Identity() if owns_input else _Copy()

    def forward(self, x: Tensor) -> Tensor:
        *first, last = self.convs
        y: Tensor = x
        for conv in first:
            y = conv(y)
        y = last(y, self.shortcut(x))
        return y

    def _give_last_the_bias_of(self, shortcut: FoldedConv) -> None:
        """Both are added to one sum; alone, the shortcut's would cost a pass over all its results."""
        last = self.convs[-1]
        assert isinstance(last, FoldedConv)
        assert last.bias is not None
        assert shortcut.bias is not None
        both = last.bias.float() + shortcut.bias.float()
        last.bias, shortcut.bias = nn.Parameter(both.to(last.bias.dtype).detach()), None


class _Copy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()
