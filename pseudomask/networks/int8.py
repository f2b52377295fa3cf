"""A folded ResNet that computes in 8 bits on CPUs.

Its convolutions take uint8 features, scaled per tensor, and int8 weights, scaled per output channel, and add up in 32
bits: one oneDNN call each. The stem, and the sums along the shortcuts, stay float32. Training knows nothing of it: the
features' ranges are measured on a few photos (`observing`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from pseudomask.errors import DeviceError, UsageError
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.resnet import STAGES, ResNetBackbone
from pseudomask.networks.backbones.resnet_folding import FoldedBlock, FoldedConv

Ranges = Mapping[str, float]
"""The largest value of each convolution's input that is told from larger ones, by the name of its stage and place.

Maps stand on the rare large values: with ranges that cut off one value in 10,000, the last stage's error doubles."""

SMALL = STAGES[1:]
"""The stages that compute in 8 bits: the first one is a tenth of the arithmetic, and causes most of the error."""

_LEVELS = 255
_SHAPE = (32, 32)  # of features for which weights are packed; for others they do as well


def check_int8(backbone: Backbone, device: torch.device) -> None:
    """Raise `UsageError` or `DeviceError` if this backbone cannot compute in 8 bits on this device."""
    if device.type != "cpu":
        raise UsageError("--amp int8 is for CPUs; on a GPU use bf16, fp16 or off")
    if not isinstance(backbone, ResNetBackbone):
        raise UsageError(f"--amp int8 is for torchvision's ResNets; for {backbone.name} use bf16 or off")
    if not _works():
        raise DeviceError("--amp int8: torch has no 8-bit convolutions for this machine; use bf16 or off")


def _works() -> bool:
    """Whether torch has oneDNN's calls, which it does not promise, and they compute what they should."""
    generator = torch.Generator().manual_seed(0)
    plain, norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
    nn.init.normal_(plain.weight, std=0.1, generator=generator)
    conv = FoldedConv(plain.eval(), norm.eval(), None, None, relu=True)
    # half of the levels: without VNNI, sums of two products are cut off at 16 bits, which hardly occurs in photos
    x, step = torch.rand(1, 8, 5, 5, generator=generator) / 2, 1 / _LEVELS
    with torch.inference_mode():
        wanted = conv(x), conv(x, conv(x))
        try:
            small = Int8Conv(conv, step, None)
            levels = quantised(x, step)
            found = small(levels), small(levels, small(levels))
        except (RuntimeError, AttributeError, NotImplementedError, TypeError):
            return False
    return all(torch.allclose(one, other, atol=0.05) for one, other in zip(found, wanted, strict=True))


def recorded_ranges(content: Any, backbone: nn.Module) -> dict[str, float] | None:
    """The ranges in a record's JSON; None unless they are those of a ResNet like this one."""
    names = [f"{name}.{i}" for name, block in _blocks(backbone, SMALL) for i in range(len(block.convs))]
    if not isinstance(content, dict) or list(content) != names:
        return None
    known = all(isinstance(one, float | int) and 0 < one < math.inf for one in content.values())
    return {name: float(value) for name, value in content.items()} if known else None


@contextmanager
def observing(network: nn.Module, stages: Sequence[str]) -> Iterator[dict[str, list[float]]]:
    """While open, each view that a folded ResNet sees adds the range of every convolution's input to the lists."""
    found: dict[str, list[float]] = {}
    hooks = []

    def watch(name: str, conv: nn.Module) -> None:
        def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found.setdefault(name, []).append(float(inputs[0].max()))

        hooks.append(conv.register_forward_pre_hook(note))

    for name, block in _blocks(network, stages):
        for i, conv in enumerate(block.convs):
            watch(f"{name}.{i}", conv)
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def settled(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The ranges that the views have in common, to four digits: threads of another number change the fifth or so."""
    return {name: float(f"{max(mean(values), 1e-6):.4g}") for name, values in found.items()}


def quantise_resnet(network: nn.Module, stages: Sequence[str], ranges: Ranges) -> None:
    """Change the stages of a folded float32 ResNet in place to compute in 8 bits."""
    for name in stages:
        blocks = _blocks(network, (name,))
        setattr(network, name, nn.Sequential(*(Int8Block(block, where, ranges) for where, block in blocks)))


def _blocks(network: nn.Module, stages: Sequence[str]) -> Iterator[tuple[str, FoldedBlock]]:
    for stage in stages:
        for i, block in enumerate(network.get_submodule(stage).children()):
            assert isinstance(block, FoldedBlock)
            yield f"{stage}.{i}", block


def quantised(x: Tensor, step: float) -> Tensor:
    """Features, none of them negative, as uint8 levels."""
    return (x * (1 / step)).add_(0.5).clamp_(max=_LEVELS).to(torch.uint8)


class Int8Conv(nn.Module):
    """A folded convolution of uint8 features.

    Args:
        source: the input's value per level.
        target: the output's value per level, which is then uint8; None: it is float32.
    """

    def __init__(self, conv: FoldedConv, source: float, target: float | None) -> None:
        super().__init__()
        weight = conv.weight.detach().float()  # (D', D, k, k)
        scales = (weight.abs().amax((1, 2, 3)) / 127).clamp_min(1e-12)
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", torch.zeros(len(scales), dtype=torch.int64))
        assert conv.bias is not None
        self.register_buffer("bias", conv.bias.detach().float())
        self.where = ([*conv.stride], [*conv.padding], [*conv.dilation], conv.groups)
        self.source, self.target = source, target
        self.relu = "relu" if conv.relu else "none"
        levels = (weight / scales[:, None, None, None]).round().to(torch.int8)
        shape = [1, weight.shape[1] * conv.groups, *_SHAPE]
        # in oneDNN's order of weights, which it would else make at each call
        self.packed: Tensor = torch.ops.onednn.qconv_prepack(levels, self.scales, source, 0, *self.where, shape)

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """uint8 (B, D, h, w) → (B, D', h', w'); float32 `shortcut` has the shape of the result and is overwritten."""
        read = (x, self.source, 0, self.packed, self.scales, self.zeros)
        scale, kind = (1.0, torch.float32) if self.target is None else (self.target, torch.uint8)
        onednn = torch.ops.onednn
        y: Tensor
        if shortcut is None:
            y = onednn.qconv2d_pointwise(*read, self.bias, *self.where, scale, 0, kind, self.relu, [], "")
        else:
            written: tuple[Any, ...] = (scale, 0, kind, 1.0, 0, "sum", 1.0, self.relu, [], "")
            y = onednn.qconv2d_pointwise.binary(*read, shortcut, self.bias, *self.where, *written)
        return y


class Int8Block(nn.Module):
    """One residual block: float32 in and out, uint8 within."""

    def __init__(self, block: FoldedBlock, name: str, ranges: Ranges) -> None:
        super().__init__()
        steps = [ranges[f"{name}.{i}"] / _LEVELS for i in range(len(block.convs))]
        self.step = steps[0]
        self.convs = nn.ModuleList()
        for conv, source, target in zip(block.convs, steps, [*steps[1:], None], strict=True):
            assert isinstance(conv, FoldedConv)
            self.convs.append(Int8Conv(conv, source, target))
        self.shortcut = block.shortcut
        if isinstance(block.shortcut, FoldedConv):
            self.shortcut = Int8Conv(block.shortcut, self.step, None)

    def forward(self, x: Tensor) -> Tensor:
        levels = quantised(x, self.step)
        *first, last = self.convs
        y: Tensor = levels
        for conv in first:
            y = conv(y)
        y = last(y, self.shortcut(levels if isinstance(self.shortcut, Int8Conv) else x))
        return y
