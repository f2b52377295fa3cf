"""The attention of a transformer's last blocks, which shows what belongs together (docs/networks.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

LAST = 4
"""How many blocks, counted from the last, are averaged. TransCAM sums all blocks; the number is ours, unmeasured."""

MOST = 2_500
"""Positions above which no attention is kept: its memory grows with their square."""

ENTRIES = 64_000_000
"""Entries of one block's attention (256 MB) that a pass may hold; a batch is cut into passes by it, but not a photo."""


def attentive(net: nn.Module) -> list[Any]:
    """The attention layers of the last blocks whose weights can be read; none in a network of another kind."""
    blocks = getattr(net, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList):
        return []
    layers = [getattr(block, "attn", None) for block in list(blocks)[-LAST:]]
    wanted = ("fused_attn", "attn_drop", "num_heads")
    return layers if layers and all(all(hasattr(one, name) for name in wanted) for one in layers) else []


class Watched:
    """The mean of what `watching` saw: over heads and layers, between patches alone."""

    def __init__(self, layers: int, prefix: int) -> None:
        self.layers, self.prefix = layers, prefix
        self.total: Tensor | None = None

    def add(self, _module: nn.Module, given: tuple[Tensor, ...]) -> None:
        patches = given[0].detach()[..., self.prefix :, self.prefix :].float().mean(1) / self.layers  # (B, P, P)
        self.total = patches if self.total is None else self.total + patches


@contextmanager
def watching(layers: list[Any], prefix: int) -> Iterator[Watched]:
    """Read the softmax of these layers during one forward pass: (B, P, P) float32, rows are queries.

    Args:
        prefix: how many tokens before the patches are left out.
    """
    seen, before = Watched(len(layers), prefix), [one.fused_attn for one in layers]
    hooks = [one.attn_drop.register_forward_pre_hook(seen.add) for one in layers]
    try:
        for one in layers:
            one.fused_attn = False  # a fused kernel never holds the weights
        yield seen
    finally:
        for one, fused in zip(layers, before, strict=True):
            one.fused_attn = fused
        for hook in hooks:
            hook.remove()


def portions(x: Tensor, positions: int, heads: int) -> tuple[Tensor, ...]:
    """A batch in parts whose attention fits `ENTRIES`."""
    return torch.split(x, max(1, ENTRIES // (heads * positions**2)))
