"""The context part of a boundary head: which class a place is, judged by what surrounds it.

Ours. Dilated convolutions beside a pooled branch are those of DeepLabV3 (Chen et al., arXiv 1706.05587, §3.3), at a
sixth of its width and on the features of a frozen backbone's last three stages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudomask.networks.features import Features

STAGES = 3
"""How many outputs of the backbone it reads, from the last."""
DILATIONS = (1, 2, 4, 8)
_WIDTH = 128
_BRANCH = 64
_GROUPS = 4
_DROPOUT = 0.1


class Context(nn.Module):
    """Class logits at the positions of the last output.

    Attributes:
        reduce: a 1×1 convolution of all channels to 128, group norm and ReLU.
        branches: 3×3 convolutions to 64 channels, with the distances `DILATIONS`; `norm` follows them.
        pooled: (64, 128, 1, 1), on the mean over the photo.
        classes: (1 + C, 448, 1, 1), with bias, on all of these, background first.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv2d(sum(channels[-STAGES:]), _WIDTH, 1, bias=False), nn.GroupNorm(_GROUPS, _WIDTH), nn.ReLU()
        )
        self.branches = nn.ModuleList(
            nn.Conv2d(_WIDTH, _BRANCH, 3, padding=reach, dilation=reach, bias=False) for reach in DILATIONS
        )
        self.norm = nn.GroupNorm(_GROUPS, _BRANCH * len(DILATIONS))
        self.pooled = nn.Conv2d(_WIDTH, _BRANCH, 1)
        self.dropout = nn.Dropout2d(_DROPOUT)
        self.classes = nn.Conv2d(_WIDTH + _BRANCH * (len(DILATIONS) + 1), 1 + classes, 1)

    def forward(self, features: Features) -> Tensor:
        """(B, 1 + C, h, w), at the last output's positions."""
        return self.of_gathered(self.gathered(features))

    def of_gathered(self, gathered: Tensor) -> Tensor:
        x = self.reduce(gathered)
        around = F.relu(self.norm(torch.cat([branch(x) for branch in self.branches], 1)))
        whole = F.relu(self.pooled(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])
        found: Tensor = self.classes(self.dropout(torch.cat([x, around, whole], 1)))
        return found

    @staticmethod
    def gathered(features: Features) -> Tensor:
        """The outputs at the last one's positions, each divided there by its root mean square: (B, D, h, w)."""
        size = features.last.shape[-2:]
        return torch.cat([_level(_at(one, size)) for one in features.outputs[-STAGES:]], 1)


def _at(output: Tensor, size: torch.Size) -> Tensor:
    return output if output.shape[-2:] == size else F.interpolate(output.float(), size=size, mode="area")


def _level(x: Tensor) -> Tensor:
    x = x.float()
    return x / x.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)
