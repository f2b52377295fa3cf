"""Mean-field inference in a fully connected CRF (Krähenbühl and Koltun, 2011).

Gaussian kernels of position and colour connect every pixel to every other, with Potts compatibility: two pixels with
different labels pay the kernel's value. Each message pass is one filtering on the permutohedral lattice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pseudomask.refining.lattice import Lattice, Shared, build_lattice


def position_features(height: int, width: int, reach: float, device: torch.device | str = "cpu") -> Tensor:
    """(2, H W) float32: x and y in units of `reach` pixels."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack([x, y]).flatten(1) / reach


def bilateral_features(photo: Tensor, reach: float, colour_reach: float) -> Tensor:
    """(5, H W) float32: position and colour of a (H, W, 3) uint8 photo, each in units of its reach.

    A batch (B, H, W, 3) gives (5, B H W).
    """
    *photos, height, width, _ = photo.shape
    position = position_features(height, width, reach, photo.device).repeat(1, math.prod(photos))
    colour = photo.flatten(0, -2).T.float() / colour_reach
    return torch.cat([position, colour])


def pairwise(features: Tensor, weight: float, photos: int = 1) -> Lattice:
    """The symmetrically normalised, weighted kernel w D^-½ K D^-½ of (d, N) features, where D holds the row sums of K.

    Features of several photos, one photo after another, give independent kernels: none reaches into another photo.
    """
    lattice = build_lattice(features, photos)
    sums = lattice.filter(features.new_ones(features.shape[1], 1)).squeeze(1)
    scale = torch.rsqrt(sums + 1e-20)
    return lattice.weighted(scale, weight * scale)


def mean_field(
    unary: Tensor,
    kernels: Sequence[Lattice | Shared],
    iterations: int,
    watch: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Marginals after `iterations` parallel updates Q ← softmax(-unary + Σ_k K_k Q), starting from softmax(-unary).

    Filtering is linear and softmax depends only on differences between labels, so Q_l - Q_0 is filtered instead of Q.
    That saves one column, which is half the work with two labels.

    Args:
        unary: (L, N) energies, L ≥ 2, finite for the first label. A label with energy ∞ is ruled out at that point.
        kernels: from `pairwise`, over the same N points.
        watch: called with the marginals before the first update and after each one.

    Returns:
        (L, N), each column a distribution.
    """
    start = unary[:1] - unary[1:]  # (L - 1, N) logits against label 0
    marginals = _softmax(start)
    for _ in range(iterations):
        if watch is not None:
            watch(marginals)
        columns = (marginals[1:] - marginals[:1]).T.contiguous()  # (N, L - 1): contiguous per point
        logits = start
        for kernel in kernels:
            logits = logits + kernel.filter(columns).T
        marginals = _softmax(logits)
    if watch is not None:
        watch(marginals)
    return marginals


def _softmax(logits: Tensor) -> Tensor:
    """(L - 1, N) logits against label 0 → (L, N) probabilities."""
    return torch.softmax(torch.cat([torch.zeros_like(logits[:1]), logits]), 0)


def free_energy(marginals: Tensor, unary: Tensor, kernels: Sequence[Lattice | Shared]) -> float:
    """KL(Q ‖ P) up to a constant: Σ Q log Q + Σ Q unary - ½ Σ_k Σ_l Q_l K_k Q_l, for (L, N) marginals.

    Updates cannot increase it if the kernels are positive semi-definite, as Gaussians are
    (Krähenbühl and Koltun, 2013).
    """
    q, u = marginals.double(), unary.double()
    energy = torch.xlogy(q, q).sum() + (q * u).sum()
    for kernel in kernels:
        energy -= 0.5 * (q * kernel.filter(marginals.T.contiguous()).T.double()).sum()
    return float(energy)
