"""Powers of a sparse transition matrix, applied to score planes (see `walk`)."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudomask.refining.paths import affinities, steps

REST = 1e-9
"""Total weight of the omitted polynomials: the norm of the error relative to that of the scores."""


@lru_cache(maxsize=8)
def _offsets(radius: int, device: torch.device) -> Tensor:
    """Of a pixel's neighbours and itself, (2K + 1, 2); kept, as a GPU would wait for a copy with every batch."""
    ahead = steps(radius)
    return torch.tensor([(-y, -x) for y, x in reversed(ahead)] + [(0, 0)] + ahead, device=device)


def transition(edges: Tensor, *, radius: int = 5, beta: float = 10.0) -> Tensor:
    """Tᵀ, with which one step of the row vector x·T is Tᵀ·x: each pixel takes a weighted mean over its neighbours.

    A neighbour's weight is the pair's affinity to the power `beta`; the pixel itself has weight 1.

    Args:
        edges: (h, w) float64 in [0, 1]; or (B, h, w) of B photos, each of which keeps to itself.

    Returns:
        (hw, hw) or (Bhw, Bhw) sparse CSR, ≥ 0, with rows that sum to 1; memory grows with their number times the number
        of neighbours.
    """
    h, w = edges.shape[-2:]
    photos, reach = edges.numel() // (h * w), radius - 1
    after = affinities(edges, radius).pow_(beta)  # (K, [B,] h, w)
    before = F.pad(after, (reach, reach, reach, 0))
    ahead = steps(radius)
    back = [before[k, ..., reach - y : reach - y + h, reach - x : reach - x + w] for k, (y, x) in enumerate(ahead)]
    # In ascending order, as a CSR row needs its columns.
    offsets = _offsets(radius, edges.device)
    weights = torch.stack([*reversed(back), torch.ones_like(edges), *after], -1)  # ([B,] h, w, 2K + 1)
    weights /= weights.sum(-1, keepdim=True)
    rows = torch.arange(h, device=edges.device)[:, None] + offsets[:, 0]  # (h, 2K + 1)
    columns = torch.arange(w, device=edges.device)[:, None] + offsets[:, 1]
    inside = ((rows >= 0) & (rows < h))[:, None] & ((columns >= 0) & (columns < w))  # (h, w, 2K + 1)
    # int32, as MKL uses; with int64, each product would first convert the indices.
    targets = (rows * w).int()[:, None] + columns.int()
    kept = inside.flatten().nonzero()[:, 0]  # asked for once: a GPU has to be waited for
    first = torch.arange(photos, dtype=torch.int32, device=edges.device)[:, None] * (h * w)
    starts = F.pad(inside.sum(-1).flatten().repeat(photos).cumsum(0), (1, 0)).int()
    columns, values = (first + targets.flatten()[kept]).flatten(), weights.view(photos, -1)[:, kept].flatten()
    size = (photos * h * w, photos * h * w)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # CSR is in beta, invariants are not checked
        return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)


def chebyshev_weights(power: int, rest: float = REST) -> list[float]:
    """Coefficients c with x^power = Σ c_k·T_k(x) on [−1, 1], truncated once the rest sums to at most `rest`.

    c_k is the probability that `power` fair ±1 steps end at k or −k.
    """
    start = power % 2
    chance = math.comb(power, power // 2) / 2**power  # probability of ending at `start`
    weights = [0.0] * start + [chance * (2 if start else 1)]
    for k in range(start, power, 2):
        if 1 - sum(weights) <= rest:
            break
        chance *= (power - k) / (power + k + 2)
        weights += [0.0, 2 * chance]
    return weights


def random_walk(scores: Tensor, edges: Tensor, *, radius: int = 5, beta: float = 10.0, exponent: int = 8) -> Tensor:
    """x·T^(2^exponent) for x = scores·(1 − edges), without a dense pixel-by-pixel matrix.

    Args:
        scores: (n, h, w), ≥ 0; or (B, n, h, w) of B photos.
        edges: (h, w) or (B, h, w), boundary probability in [0, 1].

    Returns:
        The walked scores, float64, ≥ 0, at most the highest score. They are within 1e-5 of the dense float64 product,
        relative to the highest value.
    """
    edges = edges.double()
    step = transition(edges, radius=radius, beta=beta)
    start = (scores * (1 - edges).unsqueeze(-3)).flatten(-2)  # ([B,] n, hw)
    last = start.transpose(-1, -2).reshape(-1, start.shape[-2]).contiguous()  # ([B·]hw, n): T_0 x
    first, *others = chebyshev_weights(2**exponent)
    total = first * last
    now = step @ last  # T_1 x
    for k, weight in enumerate(others):
        if k:  # T_k = 2 T·T_{k−1} − T_{k−2}
            last, now = now, torch.addmm(last, step, now, beta=-1, alpha=2)
        if weight:
            total.add_(now, alpha=weight)
    total.clamp_(min=0)  # truncation can leave small negative values
    found: Tensor = total.view(*start.shape[:-2], -1, start.shape[-2]).transpose(-1, -2).unflatten(-1, edges.shape[-2:])
    return found
