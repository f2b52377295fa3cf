"""S1's affinity: how similar the features of two positions are, in memory that does not grow with the photo.

Cost, for P positions of D channels: the sources are the grid itself while P ≤ `MOST_SOURCES`, else the grid
average-pooled by the smallest whole factor that achieves this, Q ≤ 2,500 in all cases. Memory per view:
4·(P + Q)·D bytes of features, 4·Q² ≤ 25 MB of affinity, and 4·Q·`BLOCK` ≤ 41 MB for one block of targets.
Time: Q²·D + T·Q²·N multiplications, plus P·Q·D if the grid was pooled: linear in the photo's area.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_SOURCES = 2_500
"""Maximum number of positions that every position is compared with (50 × 50: an 800 × 800 photo)."""

BLOCK = 4_096
"""Number of positions of a large grid that are compared at once."""

EPSILON = 1e-5


def pooling(grid: tuple[int, int], most: int = MOST_SOURCES) -> int:
    """Smallest whole factor by which a grid (h, w) must be pooled to have at most `most` positions."""
    h, w = grid
    factor = 1
    while -(-h // factor) * -(-w // factor) > most:
        factor += 1
    return factor


def pool(x: Tensor, factor: int) -> Tensor:
    """Means over factor × factor cells: (B, D, h, w) → (B, D, ⌈h/factor⌉, ⌈w/factor⌉); edge cells may be smaller."""
    if factor == 1:
        return x
    # a kernel must not be larger than the side it runs along
    kernel = (min(factor, x.shape[-2]), min(factor, x.shape[-1]))
    return F.avg_pool2d(x, kernel, stride=(factor, factor), ceil_mode=True)


def unit(features: Tensor) -> Tensor:
    """Features as vectors of length 1 (or 0), in their own precision: (B, D, h, w) → (B, D, h·w)."""
    flat = features.flatten(2)
    # 1e12 is infinite in float16, and 0 times that is NaN
    return flat * (1 / lengths(flat)).clamp(max=torch.finfo(flat.dtype).max).to(flat.dtype)


def lengths(features: Tensor) -> Tensor:
    """Length of every position's features, at least 1e-12: (B, D, …) → (B, 1, …) float32.

    Summed in float32 and rounded to the features' precision: requesting float32 would be five times slower.
    """
    norm: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return norm.float().clamp(min=1e-12)


def affinity(sources: Tensor, targets: Tensor, power: float) -> Tensor:
    """S = ReLU(cos)^power of unit vectors: (B, D, Q), (B, D, P) → (B, Q, P) float32 in [0, 1].

    The product runs in the features' precision: cosines of bf16 features are no more precise than bf16.
    Evidence: ReLU(cos) is SEAM's and SFC's (related published work); the power is our inference.
    """
    similar = (sources.transpose(1, 2) @ targets).relu_().float()
    if power in (1, 2, 4, 8):  # repeated products take a tenth of the time of a power
        for _ in range(int(math.log2(power))):
            similar.mul_(similar)
        return similar
    return similar.pow_(power)


def carry(values: Tensor, similar: Tensor) -> Tensor:
    """A Ŝ, Ŝ_ij = S_ij / (Σ_i S_ij + 1e-5): (B, N, Q), (B, Q, P) → (B, N, P); the division as in SEAM and SFC.

    The sums are computed as one more row of the product, which avoids a normalised copy of S.
    """
    both = torch.cat([values, torch.ones_like(values[:, :1])], 1) @ similar
    return both[:, :-1] / (both[:, -1:] + EPSILON)


def blocks(targets: Tensor, size: int = BLOCK) -> Iterator[Tensor]:
    """Split (B, D, P) into pieces of at most `size` positions."""
    yield from targets.split(size, dim=2)
