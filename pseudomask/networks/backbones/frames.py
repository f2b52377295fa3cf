"""Photos of several sizes in one batch, each in the upper left corner of a frame.

On a GPU, libraries plan every convolution anew for each size of its input, for half a millisecond and more, and photos
of a folder have hundreds of sizes. Frames have few. What lies beyond a photo is zero before each convolution that looks
around, as it is where the photo is alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEP = 64
"""Sides of frames are multiples of it; a network's strides divide it."""


def frame_of(size: tuple[int, int]) -> tuple[int, int]:
    """The frame of a photo of (h, w)."""
    h, w = (-(-side // STEP) * STEP for side in size)
    return h, w


class Frame:
    """What of the features under way belongs to photos; at other times than `within`, all."""

    def __init__(self) -> None:
        self.inside: Tensor | None = None  # (B, 1, H, W) bool, where the photos are

    @contextmanager
    def within(self, inside: Tensor) -> Iterator[None]:
        self.inside = inside
        try:
            yield
        finally:
            self.inside = None

    def clip(self, x: Tensor) -> Tensor:
        """Features (B, D, h, w) with zeros beyond the photos."""
        if self.inside is None:
            return x
        # A position belongs to a photo if its first pixel does: sides shrink by halves that are rounded up.
        stride = self.inside.shape[-2] // x.shape[-2]
        return torch.where(self.inside[..., ::stride, ::stride], x, 0.0)  # a product would keep infinity as NaN


class Clip(nn.Module):
    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, x: Tensor) -> Tensor:
        return self.frame.clip(x)


def framed(inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Inputs, (B_i, 3, h_i, w_i) → (B, 3, H, W), all in frames of the largest ones' sides, and where they are in them.

    B is rounded up to a power of two, as other numbers would need plans, too.
    """
    high, wide = frame_of((max(one.shape[2] for one in inputs), max(one.shape[3] for one in inputs)))
    count = 1 << (sum(map(len, inputs)) - 1).bit_length()
    x = inputs[0].new_zeros(count, 3, high, wide).contiguous(memory_format=torch.channels_last)
    inside = inputs[0].new_zeros(count, 1, high, wide, dtype=torch.bool)
    start = 0
    for one in inputs:
        h, w = one.shape[2:]
        x[start : start + len(one), :, :h, :w] = one
        inside[start : start + len(one), :, :h, :w] = True
        start += len(one)
    return x, inside


def unframed(outputs: Sequence[Tensor], strides: Sequence[int], inputs: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The part of each of `inputs` in the network's `outputs`."""
    start = 0
    for one in inputs:
        h, w = one.shape[2:]
        yield [
            found[start : start + len(one), :, : -(-h // stride), : -(-w // stride)].contiguous(
                memory_format=torch.channels_last
            )
            for found, stride in zip(outputs, strides, strict=True)
        ]
        start += len(one)
