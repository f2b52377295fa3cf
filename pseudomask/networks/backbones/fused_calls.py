"""Calls of oneDNN and cuDNN that compute a convolution, add a shortcut and apply a ReLU in one pass over memory.

torch's own compiler makes such calls, but does not promise them; so they are compared with plain ones before their use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from pseudomask.running.halving import OUT_OF_MEMORY, memory_errors

if TYPE_CHECKING:
    from pseudomask.networks.backbones.resnet_folding import FoldedConv

_MISSING = (RuntimeError, AttributeError, NotImplementedError, TypeError)


class Calls(Protocol):
    """One library's calls. `adds_bias`: also where there is neither shortcut nor ReLU."""

    adds_bias: bool

    def takes(self, conv: FoldedConv) -> bool:
        """Whether convolutions of this kind are worth it."""

    def run(self, conv: FoldedConv, x: Tensor, shortcut: Tensor | None) -> Tensor | None:
        """What `conv` makes of `x`, of its type; None if the library cannot."""


class OneDnn:
    """For CPUs; the sum overwrites `shortcut`."""

    adds_bias = True

    def takes(self, conv: FoldedConv) -> bool:
        return True

    def run(self, conv: FoldedConv, x: Tensor, shortcut: Tensor | None) -> Tensor | None:
        given = (x, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
        y: Tensor
        if shortcut is None:
            y = torch.ops.mkldnn._convolution_pointwise(*given, "relu" if conv.relu else "none", [], "")
        else:
            relu = "relu" if conv.relu else None
            y = torch.ops.mkldnn._convolution_pointwise_.binary(shortcut, *given, "add", None, relu, [], "")
        return y


class CuDnn:
    """For NVIDIA's GPUs; always with a ReLU."""

    adds_bias = False

    def takes(self, conv: FoldedConv) -> bool:
        """Not the stem's 7 × 7, for which cuDNN's fused kernels are many times slower (pytorch/pytorch#68506)."""
        return conv.relu and conv.groups == 1 and max(conv.weight.shape[2:]) <= 3

    def run(self, conv: FoldedConv, x: Tensor, shortcut: Tensor | None) -> Tensor | None:
        how = (conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        y: Tensor
        try:
            with memory_errors():
                if shortcut is None:
                    y = torch.cudnn_convolution_relu(x, conv.weight, *how)
                else:
                    y = torch.cudnn_convolution_add_relu(x, conv.weight, shortcut, 1.0, *how)
        except OUT_OF_MEMORY:
            raise
        except RuntimeError:  # cuDNN finds no kernel for some shapes
            return None
        return y


def calls_for(device: torch.device, dtype: torch.dtype | None, folded: Callable[..., nn.Module]) -> Calls | None:
    """The device's library, if it is there and finds what plain convolutions find.

    Args:
        folded: makes a `FoldedConv` of a convolution, its batch norm, `dtype` and the library.
    """
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        calls: Calls = OneDnn()
    elif device.type == "cuda" and torch.version.hip is None and torch.backends.cudnn.enabled:
        calls = CuDnn()
    else:
        return None
    kinds = ((3, 1),) if device.type == "cpu" else ((3, 1), (3, 2), (1, 1), (1, 2))
    return calls if all(_right(calls, device, dtype, folded, *kind) for kind in kinds) else None


def _right(
    calls: Calls,
    device: torch.device,
    dtype: torch.dtype | None,
    folded: Callable[..., nn.Module],
    kernel: int,
    stride: int,
) -> bool:
    generator = torch.Generator().manual_seed(0)
    conv, norm = nn.Conv2d(8, 8, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(8)
    nn.init.normal_(conv.weight, generator=generator)
    x = torch.randn(1, 8, 5, 5, generator=generator).to(device, dtype).to(memory_format=torch.channels_last)
    plain, fused = (folded(conv.eval(), norm.eval(), dtype, way, relu=True).to(device).eval() for way in (None, calls))
    with torch.inference_mode():
        wanted = plain(x), plain(x, plain(x))
        try:
            found = fused(x), fused(x, plain(x))
        except _MISSING:
            return False
    if getattr(fused, "fused", None) is None:
        return False
    return all(torch.allclose(a.float(), b.float(), rtol=0.05, atol=0.05) for a, b in zip(found, wanted, strict=True))
