"""Mean-field inference in a fully connected CRF (Krähenbühl and Koltun, 2011).

Every pixel is tied to every other by Gaussian kernels of position and colour, with Potts compatibility: different
labels cost the kernel's value. Messages are one filtering each on the permutohedral lattice.
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

    Of photos (B, H, W, 3) it is (5, B H W).
    """
    *photos, height, width, _ = photo.shape
    position = position_features(height, width, reach, photo.device).repeat(1, math.prod(photos))
    colour = photo.flatten(0, -2).T.float() / colour_reach
    return torch.cat([position, colour])


def pairwise(features: Tensor, weight: float, photos: int = 1) -> Lattice:
    """The kernel w D^-½ K D^-½ of (d, N) features, D being K's row sums: symmetric normalisation, times its weight.

    Features of several photos, one after the other, give the kernels of each: none reaches into another.
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
    """Marginals after so many parallel updates Q ← softmax(-unary + Σ_k K_k Q), from Q = softmax(-unary).

    Filtering is linear and softmax sees only differences between labels, so Q_l - Q_0 is filtered instead of Q:
    one column less, which is half the work with two labels.

    Args:
        unary: (L, N) energies, L ≥ 2; the first label's are finite. A label of energy ∞ is left out at that point.
        kernels: from `pairwise`, over the same N points.
        watch: is given the marginals before the first and after each update.

    Returns:
        (L, N), each column a distribution.
    """
    start = unary[:1] - unary[1:]  # (L - 1, N) logits against label 0
    marginals = _softmax(start)
    for _ in range(iterations):
        if watch is not None:
            watch(marginals)
        columns = (marginals[1:] - marginals[:1]).T.contiguous()  # (N, L - 1), so that a point's labels lie together
        logits = start
        for kernel in kernels:
            logits = logits + kernel.filter(columns).T
        marginals = _softmax(logits)
    if watch is not None:
        watch(marginals)
    return marginals


def _softmax(logits: Tensor) -> Tensor:
    """(L - 1, N) logits against label 0 to (L, N) probabilities."""
    return torch.softmax(torch.cat([torch.zeros_like(logits[:1]), logits]), 0)


def free_energy(marginals: Tensor, unary: Tensor, kernels: Sequence[Lattice | Shared]) -> float:
    """KL(Q ‖ P) up to a constant: Σ Q log Q + Σ Q unary - ½ Σ_k Σ_l Q_l K_k Q_l, for (L, N) marginals.

    Updates cannot raise it where the kernels are positive semi-definite, which Gaussians are
    (Krähenbühl and Koltun, 2013).
    """
    q, u = marginals.double(), unary.double()
    energy = torch.xlogy(q, q).sum() + (q * u).sum()
    for kernel in kernels:
        energy -= 0.5 * (q * kernel.filter(marginals.T.contiguous()).T.double()).sum()
    return float(energy)
