"""`train-cls --fit lda`: both classifiers in closed form, from one look at the photos through a frozen backbone.

w is Fisher's linear discriminant (1936) with a diagonal covariance, on pooled features of photos with and without the
class. w″ is fitted to regions: the features under the class's map against those outside all maps, in photos without
any class, and under the maps of other classes. The first map is w's, the second that of the regions' discriminant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pseudomask.maps.normalise import normalise_maps

ROUNDS = 2
"""Number of times that regions are chosen and fitted."""
SMOOTHING = 1.0
"""Share of the mean variance that is added to each channel's, because few photos estimate single channels badly."""
_MARGIN = 4.0
"""Between the mean logits of photos with and without a class: probabilities of 0.12 and 0.88."""


@dataclass(frozen=True)
class Seen:
    """One photo: its features, (D, h, w), and the positions of its classes."""

    features: Tensor
    tags: Sequence[int]

    @property
    def flat(self) -> Tensor:
        """float32 (D, h·w)."""
        return self.features.flatten(1).float()


def image_discriminant(pooled: Tensor, tags: Tensor) -> Tensor:
    """w, (C, D): the difference of means over the variance within, of photos with a class and without.

    The network has no bias, so the bias is added along the mean feature of all photos. For a class that all photos
    show, the mean without it counts as 0; the row of a class that none shows is 0.

    Args:
        pooled: (N, D) means of the features.
        tags: (N, C) of 0 and 1.
    """
    mean = pooled.mean(0)
    rows = []
    for column in tags.T.bool():
        shown, others = pooled[column], pooled[~column]
        if not len(shown):
            rows.append(torch.zeros_like(mean))
            continue
        middle = others.mean(0) if len(others) else torch.zeros_like(mean)
        row = (shown.mean(0) - middle) / _within(shown, others)
        margin = row @ (shown.mean(0) - middle)
        bias = -(row @ (shown.mean(0) + middle)) / 2 if len(others) else torch.zeros(())
        rows.append((row + bias * mean / (mean @ mean).clamp(min=1e-12)) * _MARGIN / margin.clamp(min=1e-12))
    return torch.stack(rows)


def region_discriminant(photos: Sequence[Seen], first: Tensor, classes: int) -> Tensor:
    """w″, (C, D), at least 0: of each channel that is stronger in the class's regions, difference² / variance.

    A squared difference, because it measured better than the difference: as in ReCAM's w ⊙ w″, only channels that
    tell the class apart in both ways count. A class without a region is 0.

    Args:
        first: (C, D), the weights of the maps that regions are first taken from.
    """
    weights = first
    for last in (False,) * (ROUNDS - 1) + (True,):
        inside, beside = _regions(photos, weights, classes)
        rows = []
        for own, regions in enumerate(inside):
            rest = torch.cat([*(other for i, other in enumerate(inside) if i != own), beside])
            if not len(regions) or not len(rest):
                rows.append(torch.zeros_like(first[own]))
                continue
            difference = regions.mean(0) - rest.mean(0)
            rows.append((difference.clamp(min=0) ** 2 if last else difference) / _within(regions, rest))
        weights = torch.stack(rows)
    found: Tensor = weights / weights.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return found


def _regions(photos: Sequence[Seen], weights: Tensor, classes: int) -> tuple[list[Tensor], Tensor]:
    """Mean features under each class's maps, (M_c, D), and outside all maps, (N, D); each weighted by the map."""
    dim = weights.shape[1]
    inside, beside = [[torch.zeros(0, dim)] for _ in range(classes)], [torch.zeros(0, dim)]
    for photo in photos:
        flat, tags = photo.flat, list(photo.tags)
        maps = normalise_maps(torch.relu(weights[tags] @ flat)[:, None])[:, 0]  # (N, hw)
        for name, one in zip(tags, maps, strict=True):
            if one.any():
                inside[name].append((flat @ one / one.sum())[None])
        rest = (1 - maps.amax(0)) ** 2 if tags else torch.ones(flat.shape[1])
        if rest.any():
            beside.append((flat @ rest / rest.sum())[None])
    return [torch.cat(one) for one in inside], torch.cat(beside)


def _within(one: Tensor, other: Tensor) -> Tensor:
    """Variance within two groups, (D,), smoothed; above 0."""
    squares = sum(((group - group.mean(0)) ** 2).sum(0) for group in (one, other) if len(group))
    variance = torch.as_tensor(squares) / max(len(one) + len(other) - 2, 1)
    return variance + SMOOTHING * variance.mean() + 1e-12
