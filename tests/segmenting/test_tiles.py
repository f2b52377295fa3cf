"""Tiles: they cover a photo, agree with the whole, and leave no seam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.segmenting.tiles import CELL, at_grid, in_tiles, starts


@pytest.mark.parametrize(
    ("length", "tile", "overlap"), [(50, 64, 0), (64, 64, 32), (65, 64, 0), (500, 128, 32), (999, 256, 100)]
)
def test_tiles_cover_every_pixel_and_overlap(length: int, tile: int, overlap: int) -> None:
    found = starts(length, tile, overlap)
    ends = [length if start == found[-1] else start + tile for start in found]
    assert found[0] == 0
    assert ends[-1] == length
    assert all(end - start <= tile for start, end in zip(found, ends, strict=True))
    assert all(start % 32 == 0 for start in found)
    shared = [end - start for end, start in zip(ends, found[1:], strict=False)]
    assert all(one >= min(overlap, 1) for one in shared)
    assert all(one >= overlap for one in shared[:-1])


def near(pixels: Tensor) -> Tensor:
    """Two labels from the 33 pixels around each; the border is padded, as a network's is."""
    grey = pixels.float().mean(-1)[:, None] / 255
    mean = F.avg_pool2d(grey, 33, stride=1, padding=16)
    return torch.cat([mean, 1 - mean], 1)


def photo(height: int, width: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8))


def test_tiles_give_what_the_whole_photo_gives() -> None:
    """Exactly where the network looks less far than a quarter of the overlap, whose outer quarters do not count."""
    pixels = photo(210, 333)
    whole = in_tiles(pixels, near, tile=1024, overlap=96)
    tiled = in_tiles(pixels, near, tile=128, overlap=96)
    assert whole.shape == tiled.shape == (1, 2, 53, 84)
    assert float((whole - tiled).abs().max()) < 1e-4
    hard = in_tiles(pixels, near, tile=128, overlap=0)
    assert float((whole - hard).abs().max()) > 0.1, "without overlap the padding shows"


def test_tiles_that_disagree_leave_no_step() -> None:
    """Each tile another constant, as where the network judges by the whole tile."""
    calls = iter(range(100))
    blended = in_tiles(
        photo(64, 400), lambda one: torch.full((1, 1, *one.shape[1:3]), float(next(calls))), tile=128, overlap=64
    )
    steps = blended[0, 0].diff(dim=1).abs()
    assert float(blended.max()) > 3
    assert float(steps.max()) < 2 * CELL / 32 + 1e-3


def test_scores_lie_where_the_photo_shows_them() -> None:
    """A ramp over the photo stays that ramp on the score grid, whatever the size at which it was seen."""
    for size, seen, stride in (((100, 70), (100, 70), 4), ((203, 151), (90, 67), 8), ((50, 60), (84, 101), 4)):
        cells = in_tiles(photo(*seen), lambda one: _ramp(one), tile=1024, overlap=0)
        found = at_grid(cells, seen=seen, size=size, stride=stride)[0, 0]
        assert found.shape == (-(-size[0] // stride), -(-size[1] // stride))
        expected = ((torch.arange(found.shape[0]) + 0.5) * stride / size[0]).clamp(max=1)
        inner = slice(1, -1)
        assert float((found[inner, 0] - expected[inner]).abs().max()) < 0.03


def _ramp(pixels: Tensor) -> Tensor:
    height, width = pixels.shape[1:3]
    return ((torch.arange(height) + 0.5) / height)[None, None, :, None].expand(1, 1, height, width)
