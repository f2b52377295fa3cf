"""The losses of ReCAM (Chen et al., CVPR 2022, §3.2) and of the boundary head's classes, as pure tensor functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.maps.cams.plain import Plain
from pseudomask.maps.cams.variant import WeightedCam
from pseudomask.maps.normalise import normalise_maps
from pseudomask.running.ranks import ALONE, Ranks
from pseudomask.training.team import mean, precise, total

PLAIN = Plain()


MOST_WEIGHT = 20.0
"""The most that a photo with a class weighs, relative to one without it."""


def classification_loss(logits: Tensor, tags: Tensor, weights: Tensor | None = None) -> Tensor:
    """Multi-label soft-margin loss: the mean over images and classes of sigmoid cross-entropy.

    Args:
        logits: (B, C).
        tags: (B, C), 0 or 1.
        weights: (C,), what a photo with the class weighs, relative to one without it; 1 by default.
    """
    return F.binary_cross_entropy_with_logits(logits, tags, pos_weight=weights)


def balanced_weights(tags: Tensor) -> Tensor:
    """(C,): photos without each class, divided by those with it, at most `MOST_WEIGHT`; 1 where either is 0.

    Args:
        tags: (N, C), 0 or 1, of all photos that are trained on.
    """
    positive = tags.sum(0)
    negative = len(tags) - positive
    ratio = (negative / positive.clamp(min=1)).clamp(max=MOST_WEIGHT)
    return torch.where((positive > 0) & (negative > 0), ratio, 1.0)


def positive_index(tags: Tensor) -> tuple[Tensor, Tensor]:
    """Pack the present classes of each image to the left.

    Args:
        tags: (B, C), 0 or 1.

    Returns:
        index: (B, N) int64, N = the most classes that any image has; unused places hold 0.
        valid: (B, N) bool, which places are used.
    """
    present = tags > 0
    count = present.sum(1)  # (B,)
    n = max(int(count.max()), 1) if len(count) else 1
    index = present.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :n]
    valid = torch.arange(n, device=tags.device)[None] < count[:, None]
    return torch.where(valid, index, 0), valid


def class_features(features: Tensor, maps: Tensor) -> Tensor:
    """Pool features under each map: f_k = mean over positions of M_k(p) f(p).

    The mean runs over *all* positions, it is not divided by the map's mass. One matrix product; the
    (B, N, D, h, w) tensor of the published code is never built.

    Args:
        features: (B, D, h, w).
        maps: (B, N, h, w), max-normalised.

    Returns:
        (B, N, D).
    """
    positions = features.shape[-2] * features.shape[-1]
    return maps.flatten(2) @ features.flatten(2).transpose(1, 2) / positions


def softmax_loss(
    features: Tensor,
    first: Tensor,
    second: Tensor,
    tags: Tensor,
    cam: WeightedCam = PLAIN,
    *,
    contrast: bool = False,
) -> tuple[Tensor, Tensor]:
    """ReCAM's loss: softmax cross-entropy of each present class's pooled feature.

    Nothing is detached: gradients reach the features, both classifiers and the normaliser.

    Args:
        features: (B, D, h, w).
        first: w, (C, D, 1, 1), makes the maps.
        second: w″, (C, D, 1, 1), classifies the pooled features.
        tags: (B, C), 0 or 1.
        cam: the kind of map under which features are pooled.
        contrast: the background is a further class of the softmax (ours): what lies outside the maps of the photo's
            classes, the whole photo where it shows none. Its logit is 0, since a softmax only knows differences.

    Returns:
        loss: scalar; the mean over images of the mean over an image's classes. Without `contrast`, an image
            without tags adds nothing and still counts in the mean.
        accuracy: scalar in [0, 1], the share of pooled features classified right (no gradient).
    """
    index, valid = positive_index(tags)  # (B, N)
    # Only the present classes' maps are made: (N, D) weights per image, one batched product.
    weights = cam.weigh(features, first.flatten(1), index)  # (B, N, D)
    maps = torch.relu(weights @ features.flatten(2))  # (B, N, hw)
    maps = normalise_maps(maps.unflatten(2, features.shape[-2:]))
    if contrast:
        beside = 1 - (maps * valid[..., None, None]).amax(1, keepdim=True)  # (B, 1, h, w)
        maps = torch.cat([maps, beside], 1)
        index = torch.cat([index, torch.full_like(index[:, :1], len(second))], 1)
        valid = torch.cat([valid, torch.ones_like(valid[:, :1])], 1)
    pooled = class_features(features, maps)  # (B, N, D)
    with torch.autocast(features.device.type, enabled=False):
        logits = pooled.float() @ second.flatten(1).T  # (B, N, C)
    if contrast:
        logits = F.pad(logits, (0, 1))
    losses = F.cross_entropy(logits.flatten(0, 1), index.flatten(), reduction="none").view_as(valid)
    share = valid / valid.sum(1, keepdim=True).clamp(min=1)  # (B, N)
    right = (logits.argmax(2) == index) & valid
    return (losses * share).sum() / len(tags), right.sum() / valid.sum().clamp(min=1)


def class_loss(logits: Tensor, labels: Tensor, team: Ranks = ALONE) -> Tensor:
    """Cross entropy over the labelled places, each weighing 1 / √(share of its label among them).

    Args:
        logits: (B, 1 + C, h, w), background first.
        labels: (B, h, w) integer, 0 ignore, 1 background, above it classes.
    """
    known = labels > 0
    rows, wanted = logits.movedim(1, -1)[known], labels[known].long() - 1  # (n, 1 + C), (n,)
    shares = total(precise(torch.bincount(wanted, minlength=logits.shape[1])), team)
    weights = (shares / shares.sum().clamp(min=1)).clamp(min=1e-3).rsqrt().to(logits.dtype)[wanted]
    found = F.cross_entropy(rows, wanted, reduction="none") * weights
    return mean(found, team) / float(total(precise(mean(weights, team)), team) / team.world or 1)
