"""A folded ResNet that computes in 8 bits on CPUs, for `benchmarks.int8`.

Its convolutions take uint8 features, scaled per tensor, and int8 weights, scaled per output channel, and add up in 32
bits: one oneDNN call each. The stem, and the sums along the shortcuts, stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import mean

import torch
from torch import Tensor, nn

from pseudomask.networks.backbones.resnet_folding import FoldedBlock, FoldedConv

Ranges = Mapping[str, float]
"""The largest value of each convolution's input that is told from larger ones, by the name of its stage and place."""

_LEVELS = 255
_CLIPPED = 1e-4  # the share of a view's values that lies beyond its range: a few outliers would make all steps coarser
_SHAPES = 4  # shapes of features for which the packed weights are kept: one for each view of a photo


@contextmanager
def observing(network: nn.Module, stages: Sequence[str]) -> Iterator[dict[str, list[float]]]:
    """While open, each view that a folded ResNet sees adds the range of every convolution's input to the lists."""
    found: dict[str, list[float]] = {}
    hooks = []

    def watch(name: str, conv: nn.Module) -> None:
        def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].flatten()
            top = values.topk(max(1, round(_CLIPPED * values.numel())), sorted=False).values.min()
            found.setdefault(name, []).append(float(top))

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
        self.register_buffer("weight", (weight / scales[:, None, None, None]).round().to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", torch.zeros(len(scales), dtype=torch.int64))
        self.register_buffer("bias", conv.bias.detach().float())
        self.where = ([*conv.stride], [*conv.padding], [*conv.dilation], conv.groups)
        self.source, self.target = source, target
        self.relu = "relu" if conv.relu else "none"
        self.packed: dict[tuple[int, ...], Tensor] = {}

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """uint8 (B, D, h, w) → (B, D', h', w'); float32 `shortcut` has the shape of the result and is overwritten."""
        read = (x, self.source, 0, self._pack(x.shape), self.scales, self.zeros)
        scale, kind = (1.0, torch.float32) if self.target is None else (self.target, torch.uint8)
        onednn = torch.ops.onednn
        y: Tensor
        if shortcut is None:
            y = onednn.qconv2d_pointwise(*read, self.bias, *self.where, scale, 0, kind, self.relu, [], "")
        else:
            written = (scale, 0, kind, 1.0, 0, "sum", 1.0, self.relu, [], "")
            y = onednn.qconv2d_pointwise.binary(*read, shortcut, self.bias, *self.where, *written)
        return y

    def _pack(self, shape: torch.Size) -> Tensor:
        """The weights in oneDNN's order for features of this shape; of another, it would sort them at each call."""
        key = tuple(shape)
        if key not in self.packed:
            if len(self.packed) == _SHAPES:
                del self.packed[next(iter(self.packed))]
            self.packed[key] = torch.ops.onednn.qconv_prepack(
                self.weight, self.scales, self.source, 0, *self.where, [*shape]
            )
        return self.packed[key]


class Int8Block(nn.Module):
    """One residual block: float32 in and out, uint8 within."""

    def __init__(self, block: FoldedBlock, name: str, ranges: Ranges) -> None:
        super().__init__()
        steps = [ranges[f"{name}.{i}"] / _LEVELS for i in range(len(block.convs))]
        self.step = steps[0]
        targets = [*steps[1:], None]
        self.convs = nn.ModuleList(map(Int8Conv, block.convs, steps, targets))
        self.shortcut = block.shortcut
        if isinstance(block.shortcut, FoldedConv):
            self.shortcut = Int8Conv(block.shortcut, self.step, None)

    def forward(self, x: Tensor) -> Tensor:
        levels = quantised(x, self.step)
        *first, last = self.convs
        y = levels
        for conv in first:
            y = conv(y)
        y = last(y, self.shortcut(levels if isinstance(self.shortcut, Int8Conv) else x))
        return y
