"""The loss of `calibrate`: prototype maps should be right where the refined map errs (docs/methods-cpmc.md, S7).

Ours; the abstract says nothing of training. Taken from it: two kinds of regions, what a map misses of a class (false
negatives) and what it wrongly gives to it (false positives), decide what is corrected.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.networks.edges import EDGE_STRIDE

LEVEL = 0.5
"""Score of the background that the maps compete with, in the loss as in the masks."""
TEMPERATURE = 0.15
"""Scores this far apart differ by a factor of e in probability."""


def tags_of(labels: Tensor, classes: int) -> Tensor:
    """Classes that labels (B, h, w) show, (B, C) of 0 and 1. 0 is ignore, 1 background, c + 2 class c."""
    shown = torch.zeros(len(labels), classes + 2, device=labels.device)
    return shown.scatter(1, labels.flatten(1).long(), 1.0)[:, 2:]


def to_places(
    labels: Tensor, index: Tensor, valid: Tensor, size: tuple[int, int], block: tuple[float, float]
) -> Tensor:
    """Labels as in `tags_of`, at the positions nearest to those of a grid (h, w), by place instead of class.

    Args:
        index, valid: (B, N), the classes that the labels show (see `losses.positive_index`).
        block: pixels per position of the grid, down and across; the last blocks may reach beyond the photo.

    Returns:
        (B, h, w) int64: −1 unknown, 0 background, n + 1 the class at place n.
    """
    near = labels.long()
    for axis in (1, 2):
        centres = (torch.arange(size[axis - 1], device=labels.device) + 0.5) * (block[axis - 1] / EDGE_STRIDE)
        near = near.index_select(axis, centres.long().clamp(max=labels.shape[axis] - 1))  # (B, h, w) in the end
    table = torch.full((len(labels), int(labels.max()) + 2), -1, device=labels.device)
    table[:, 1] = 0
    photo, place = valid.nonzero(as_tuple=True)
    table[photo, index[photo, place] + 2] = place + 1
    return table.gather(1, near.flatten(1)).view_as(near)


def region_weights(refined: Tensor, labels: Tensor, *, missing: float, noise: float) -> Tensor:
    """What each position weighs: 1 where the refined map's mask agrees with the teacher, else its region's weight.

    Args:
        refined: (B, N, h, w), 0 in unused places.
        labels: see `to_places`.
        missing: weight of a position of a class that the mask does not give it: its false negatives.
        noise: weight of a position of the background that the mask gives to a class: its false positives.

    Returns:
        (B, h, w) ≥ 0, 0 where the teacher knows nothing.
    """
    mask = torch.cat([torch.full_like(refined[:, :1], LEVEL), refined], 1).argmax(1)
    weights = torch.where(labels > 0, missing, noise)
    return torch.where(mask == labels, 1.0, weights) * (labels >= 0)


def region_loss(found: Tensor, labels: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
    """Cross entropy of the maps, the background being `LEVEL`; all labels of a photo weigh by the root of their share.

    Args:
        found: (B, N, h, w) in [0, 1]; labels, weights: (B, h, w); valid: (B, N).

    Returns:
        scalar: the mean over the photos with a class and anything known; 0 if there is none.
    """
    logits = torch.cat([torch.full_like(found[:, :1], LEVEL), found], 1) / TEMPERATURE
    used = F.pad(valid, (1, 0), value=True)[..., None, None]
    logits = logits.masked_fill(~used, -1e4)
    planes = F.one_hot(labels.clamp(min=0), logits.shape[1]).movedim(-1, 1) * weights[:, None]  # (B, 1 + N, h, w)
    mass = planes.sum((2, 3), keepdim=True)
    planes = planes * mass.clamp(min=1).rsqrt()
    total = planes.sum((1, 2, 3))  # (B,)
    of_photo = -(planes * logits.log_softmax(1)).sum((1, 2, 3)) / total.clamp(min=1e-6)
    known = (total > 0) & valid.any(1)
    return (of_photo * known).sum() / known.sum().clamp(min=1)
