"""Large photos in overlapping tiles, blended so that no seam shows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

CELL = 4
"""Pixels per position, in each direction, of the probabilities that are kept."""
_ALIGNED = 32  # tiles start at multiples of this, so that the network's grids coincide


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles of at most `tile` pixels start that cover `length` pixels and overlap by `overlap` or more."""
    tile, overlap = max(tile // _ALIGNED, 1) * _ALIGNED, -(-overlap // _ALIGNED) * _ALIGNED
    if length <= tile:
        return [0]
    step = max(tile - overlap, _ALIGNED)
    return [*range(0, length - tile, step), -(-(length - tile) // _ALIGNED) * _ALIGNED]


def _ramp(start: int, end: int, length: int, overlap: int) -> Tensor:
    """A tile's weight at each cell from `start` to `end` pixels: 0 in the outer quarter of an overlap, 1 inside."""
    at = torch.arange(start, end, CELL) + CELL / 2
    weight = torch.ones(len(at))
    if overlap:
        for inside, distance in ((start > 0, at - start), (end < length, end - at)):
            if inside:
                weight = weight.minimum((distance / overlap - 0.25) * 2)
    return weight.clamp(1e-4, 1)


def in_tiles(pixels: Tensor, see: Callable[[Tensor], Tensor], *, tile: int, overlap: int) -> Tensor:
    """The mean of `see` over each cell of CELL × CELL pixels.

    Args:
        pixels: uint8 (B, H, W, 3).
        see: (B, h, w, 3) → float32 (B, labels, h, w); called on the whole photos, or on tiles of them.

    Returns:
        (B, labels, ⌈H/CELL⌉, ⌈W/CELL⌉), on the CPU if there are several tiles.
    """
    size = (int(pixels.shape[1]), int(pixels.shape[2]))
    rows, columns = (starts(length, tile, overlap) for length in size)
    if len(rows) == len(columns) == 1:
        return _cells(see(pixels))
    total = weights = torch.zeros(0)
    for top, left in product(rows, columns):
        end = (_end(top, rows, size[0], tile), _end(left, columns, size[1], tile))
        seen = _cells(see(pixels[:, top : end[0], left : end[1]])).cpu()
        if not len(total):
            total = torch.zeros(*seen.shape[:2], *(-(-length // CELL) for length in size))
            weights = torch.zeros(total.shape[2:])
        weight = torch.outer(_ramp(top, end[0], size[0], overlap), _ramp(left, end[1], size[1], overlap))
        place = (slice(top // CELL, -(-end[0] // CELL)), slice(left // CELL, -(-end[1] // CELL)))
        total[:, :, place[0], place[1]] += seen * weight
        weights[place] += weight
    return total / weights


def _end(start: int, all_starts: list[int], length: int, tile: int) -> int:
    return length if start == all_starts[-1] else min(start + max(tile // _ALIGNED, 1) * _ALIGNED, length)


def _cells(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, CELL, ceil_mode=True, count_include_pad=False)


def at_grid(cells: Tensor, *, seen: tuple[int, int], size: tuple[int, int], stride: int) -> Tensor:
    """Values at the centres of a photo's score grid, bilinear.

    Args:
        cells: (B, labels, h, w), of a photo that was seen at `seen` pixels.
        size: (H, W) of the photo; `stride`: its pixels per score.

    Returns:
        (B, labels, ⌈H/stride⌉, ⌈W/stride⌉).
    """
    axes = []
    for full, working, count in zip(size, seen, cells.shape[2:], strict=True):
        share = (torch.arange(-(-full // stride), device=cells.device) + 0.5) * stride / full
        axes.append(2 * share * working / (CELL * count) - 1)
    grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), -1)  # (h, w, 2), x first
    return F.grid_sample(
        cells, grid.expand(len(cells), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=False
    )
