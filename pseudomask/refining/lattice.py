"""Gaussian filtering in a few dimensions on the permutohedral lattice (Adams, Baek and Davis, 2010).

Each point (here, a pixel with its position and colour) spreads its value over the d + 1 corners of its enclosing
simplex, the values are blurred along the lattice's d + 1 directions, and each point gathers the result from its
corners. Time and memory grow with points × d², whereas the exact sum grows with points².

Every step is a sparse product whose weights depend only on the points, so they are computed once, by sorting, and
reused as often as needed. It runs wherever torch runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pseudomask.errors import UsageError


@dataclass(frozen=True, eq=False)
class Lattice:
    """Positions of N points among the M lattice points in use. Indices are int32; weights have the points' precision.

    Attributes:
        corners:  (N, d + 1) lattice points around each point.
        inward:   (N, d + 1) their weights when a point gathers values.
        points:   (N (d + 1),) the points around each lattice point, grouped by lattice point.
        starts:   (M + 1,) offset of each lattice point's group in `points`.
        outward:  (N (d + 1),) the weights of `points` when values are spread.
        forward:  (d + 1, M) the next lattice point in each direction; M if it is not in use.
        backward: (d + 1, M) the previous lattice point, likewise.
    """

    corners: Tensor
    inward: Tensor
    points: Tensor
    starts: Tensor
    outward: Tensor
    forward: Tensor
    backward: Tensor

    def splat(self, values: Tensor) -> Tensor:
        """(N, L) at the points → (M, L) at the lattice points."""
        return embedding_bag(
            self.points, values, self.starts, mode="sum", per_sample_weights=self.outward, include_last_offset=True
        )

    def blur(self, values: Tensor) -> Tensor:
        """(M, L) → (M, L): blur with ½, 1, ½ along each direction in turn; lattice points not in use count as 0."""
        padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
        for forward, backward in zip(self.forward, self.backward, strict=True):
            around = padded.index_select(0, forward)
            padded[:-1].add_(around.add_(padded.index_select(0, backward)), alpha=0.5)
        return padded[:-1]

    def slice(self, values: Tensor) -> Tensor:
        """(M, L) at the lattice points → (N, L) at the points."""
        return embedding_bag(self.corners, values, mode="sum", per_sample_weights=self.inward)

    def filter(self, values: Tensor) -> Tensor:
        """(N, L) → (N, L): a weighted sum over all points in which near ones count most."""
        return self.slice(self.blur(self.splat(values)))

    def weighted(self, outward: Tensor, inward: Tensor) -> Lattice:
        """The filter v ↦ inward ⊙ filter(outward ⊙ v), at no further cost; both (N,)."""
        spread = self.outward * outward.index_select(0, self.points)
        return replace(self, outward=spread, inward=self.inward * inward[:, None])


@dataclass(frozen=True, eq=False)
class Shared:
    """One lattice shared by photos whose points have the same features; their values are filtered in parallel."""

    lattice: Lattice
    photos: int

    def filter(self, values: Tensor) -> Tensor:
        """(B N, L) → (B N, L), one photo after another; each photo sees only its own points."""
        apart = values.unflatten(0, (self.photos, -1)).transpose(0, 1)  # (N, B, L)
        found = self.lattice.filter(apart.flatten(1))
        return found.view(apart.shape).transpose(0, 1).flatten(0, 1)


def build_lattice(features: Tensor, photos: int = 1) -> Lattice:
    """Build the lattice of `features`, (d, N) float32 or float64, in units of the Gaussian's standard deviation.

    Its `filter` approximates v_i ↦ Σ_j exp(-|f_i - f_j|² / 2) v_j, times a factor that depends only on d and up to the
    error of linear interpolation. As in the authors' code, the blur uses only the lattice points around points.

    The points may come from several photos, N / photos each, one photo after another. Points of different photos then
    share no lattice point, and j runs only over the photo of i.
    """
    cells, ranks, inward = _simplices(_elevate(features))
    keys, strides = _keys(cells, ranks, photos)
    n, sides = keys.shape
    ordered, order = torch.sort(keys.flatten(), stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=first[1:])
    number = torch.cumsum(first, 0, dtype=torch.int32).sub_(1)
    starts = torch.cat([first.nonzero().squeeze(1), order.new_tensor([n * sides])]).int()
    forward, backward = _neighbours(ordered[first], strides, sides)
    owner = torch.arange(n, dtype=torch.int32, device=keys.device)[:, None].expand(n, sides).flatten()
    return Lattice(
        corners=torch.empty_like(number).scatter_(0, order, number).view(n, sides),
        # 1 / (1 + 2^-d) compensates, on average, for what the blur adds (Adams et al., section 3)
        inward=inward / (1 + 2 ** -(sides - 1)),
        points=owner.index_select(0, order),
        starts=starts,
        outward=inward.flatten().index_select(0, order),
        forward=forward,
        backward=backward,
    )


def _elevate(features: Tensor) -> Tensor:
    """(d, N) → (d + 1, N): embed in the zero-sum plane, scaled so that splat, blur and slice together have variance 1.

    Adams et al., section 3: the lattice's own Gaussian has variance 2/3 (d + 1)².
    """
    d = len(features)
    elevated = features.new_empty(d + 1, features.shape[1])
    total = torch.zeros_like(features[0])
    for j in range(d, 0, -1):
        scaled = features[j - 1] * (math.sqrt(2 / 3) * (d + 1) / math.sqrt(j * (j + 1)))
        torch.sub(total, scaled * j, out=elevated[j])
        total += scaled
    elevated[0] = total
    return elevated


def _simplices(elevated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the enclosing simplex of each point of the plane (Adams et al., section 3).

    Args:
        elevated: (d + 1, N).

    Returns:
        cells, (d + 1, N) integers in the points' precision: the simplex's remainder-0 corner, divided by d + 1;
        ranks, (d + 1, N) int8: rank of each coordinate, 0 to d, by the point's difference from that corner;
        weights, (N, d + 1): barycentric coordinates, with the remainder-r corner in column r.
    """
    sides = len(elevated)
    cells = torch.round(elevated * (1 / sides))
    rest = elevated - cells * sides
    ranks = torch.arange(sides, dtype=torch.int8, device=rest.device)[:, None].repeat(1, rest.shape[1])
    for i, j in combinations(range(sides), 2):
        less = (rest[i] < rest[j]).view(torch.int8)
        ranks[i] += less
        ranks[j] -= less
    # Rounding may leave the plane; move the coordinates with the largest rounding error back.
    ranks += cells.sum(0).to(torch.int8)
    back = (ranks < 0).to(torch.int8) - (ranks >= sides).to(torch.int8)
    ranks += back * sides
    moved = back.to(rest.dtype)
    cells += moved
    rest = (rest - moved * sides).mul_(1 / sides)
    falling = torch.empty_like(rest).scatter_(0, ranks.long(), rest)
    weights = rest.new_empty(rest.shape[1], sides)
    weights[:, 0] = 1 + falling[-1] - falling[0]
    for r in range(1, sides):
        torch.sub(falling[sides - 1 - r], falling[sides - r], out=weights[:, r])
    return cells, ranks, weights


def _keys(cells: Tensor, ranks: Tensor, photos: int) -> tuple[Tensor, list[int]]:
    """Integer keys of all simplex corners; equal keys mean the same lattice point of the same photo.

    The remainder-r corner has coordinates (d + 1) (cell_i - [rank_i > d - r]) + r, of which the last follows from the
    others. With room for a neighbour on all sides, its key is (Σ_i cell_i stride_i) (d + 1) + r; the photo's number is
    added above the range of these keys.

    Returns:
        (N, d + 1) keys, int32 or, if that is too small, int64; the strides of the d + 1 coordinates, the last 0.
        Raises `UsageError` if int64 is too small as well.
    """
    sides, n = cells.shape
    low = [int(x) - 2 for x in cells.amin(1).tolist()]
    high = [int(x) + 1 for x in cells.amax(1).tolist()]
    strides = [math.prod(high[i] - low[i] + 1 for i in range(j)) for j in range(sides)]
    size = photos * strides[-1] * sides
    if size >= 2**63:
        raise UsageError(
            "the CRF's kernels are too small for a photo of this size; raise --crf-gauss-xy and --crf-bilateral-xy"
        )
    dtype = torch.int32 if size < 2**31 else torch.int64
    key = torch.arange(photos, dtype=dtype, device=cells.device).mul_(strides[-1]).repeat_interleave(n // photos)
    strides[-1] = 0
    step = torch.tensor(strides, dtype=dtype, device=cells.device)
    for i in range(sides - 1):
        key += (cells[i].to(dtype) - low[i]) * strides[i]
    key *= sides
    lowered = torch.empty_like(ranks, dtype=dtype).scatter_(0, ranks.long(), (step * sides)[:, None].expand(sides, n))
    keys = key.new_empty(n, sides)
    keys[:, 0] = key
    for r in range(1, sides):
        key = key - lowered[sides - r] + 1
        keys[:, r] = key
    return keys, strides


def _neighbours(keys: Tensor, strides: list[int], sides: int) -> tuple[Tensor, Tensor]:
    """The next and previous lattice point in each direction j; a step forward is -1 on all coordinates but +d on j.

    Args:
        keys: (M,) ascending, without duplicates.

    Returns:
        two (d + 1, M) int32; M if that lattice point is not in use.
    """
    m = len(keys)
    forward = keys.new_full((sides, m + 1), m, dtype=torch.int32)
    backward = forward.clone()
    numbers = torch.arange(m, dtype=torch.int32, device=keys.device)
    # Remainder 0 wraps to d, so every cell decreases by one.
    base = keys - 1 + torch.where(keys % sides == 0, sides * (1 - sum(strides)), 0).to(keys.dtype)
    for j, stride in enumerate(strides):
        wanted = base + sides * stride
        index = torch.searchsorted(keys, wanted).clamp_(max=m - 1)
        found = torch.where(keys.index_select(0, index) == wanted, index, m)
        forward[j, :m] = found
        backward[j].scatter_(0, found, numbers)
    return forward[:, :m].contiguous(), backward[:, :m].contiguous()
