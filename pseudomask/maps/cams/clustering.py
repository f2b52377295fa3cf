"""Cosine k-means with a seed and a bounded number of rounds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_ROUNDS = 50
"""On a background without clear clusters, k-means may converge very slowly; the centres hardly change after these."""


def cluster(vectors: Tensor, count: int, generator: torch.Generator, rounds: int = MOST_ROUNDS) -> Tensor:
    """Spherical k-means, initialised by k-means++ (Arthur & Vassilvitskii, SODA 2007).

    Args:
        vectors: (M, D), of any length.
        count: number of clusters; fewer are returned if there are fewer vectors or a cluster becomes empty.

    Returns:
        (K, D), K ≤ count: the means of each cluster's original vectors. Empty if there are no vectors.
    """
    if len(vectors) == 0:
        return vectors
    unit = F.normalize(vectors.float(), dim=1)
    centres = _begin(unit, min(count, len(vectors)), generator)
    labels = torch.full((len(unit),), -1)
    for _ in range(rounds):
        new = (unit @ centres.T).argmax(1)
        if torch.equal(new, labels):
            break
        labels = new
        centres = F.normalize(_means(unit, labels, len(centres)), dim=1)
    found = _means(vectors.float(), labels, len(centres))
    return found[torch.bincount(labels, minlength=len(centres)) > 0]


def _begin(unit: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Vectors far from each other: each is drawn in proportion to its distance from those already drawn."""
    chosen = [int(torch.randint(len(unit), (1,), generator=generator))]
    far = torch.full((len(unit),), torch.inf)
    while len(chosen) < count:
        far = torch.minimum(far, (1 - unit @ unit[chosen[-1]]).clamp(min=0))
        if not bool((far > 1e-6).any()):  # all other vectors are copies of these
            break
        chosen.append(int(torch.multinomial(far, 1, generator=generator)))
    return unit[chosen]


def _means(vectors: Tensor, labels: Tensor, count: int) -> Tensor:
    """(M, D), (M,) → (count, D); 0 for a cluster without vectors."""
    total = torch.zeros(count, vectors.shape[1]).index_add_(0, labels, vectors)
    return total / torch.bincount(labels, minlength=count).clamp(min=1)[:, None]
