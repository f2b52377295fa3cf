"""Maps at the positions of a photo that they belong to."""

from __future__ import annotations

import torch
from torch import Tensor

from pseudomask.networks.features import Features


def cells(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """The positions of a grid over a photo (H, W): ⌈H/stride⌉, ⌈W/stride⌉."""
    return -(-size[0] // stride), -(-size[1] // stride)


def placed(maps: Tensor, features: Features, size: tuple[int, int], stride: int, *, mirrored: bool = False) -> Tensor:
    """Maps of a view, resampled bilinearly to a grid over the whole photo.

    Position k of either grid is the mean of its block of pixels, from k·stride to (k + 1)·stride: the last blocks reach
    beyond the photo where its side is no multiple of the stride. Stretching the maps to the photo instead would move
    them by up to a block.

    Args:
        maps: (B, N, h, w), made from `features`.
        size: (H, W) of the photo; stride: pixels of the photo per position of the result.
        mirrored: whether the view is the photo's mirror image; the result is not.

    Returns:
        (B, N, ⌈H/stride⌉, ⌈W/stride⌉).
    """
    shape = (maps.shape[-2], maps.shape[-1])
    block = block_of(shape, features)
    for axis, n in enumerate(cells(size, stride)):
        turned = mirrored and axis == 1
        counted = torch.arange(n, device=maps.device)
        maps = _resampled(
            maps, axis - 2, _centres(counted, stride, size[axis], features.size[axis], block[axis], turned)
        )
    return maps


def block_of(shape: tuple[int, int], features: Features) -> tuple[float, float]:
    """Pixels of the view per position of maps of this shape."""
    height, width = features.size
    if features.fitted:
        return height / shape[0], width / shape[1]
    stride, axis = features.strides[-1], int(width > height)
    while -(-features.size[axis] // stride) > shape[axis]:  # maps on a coarser grid than the last stage's
        stride *= 2
    while stride > 1 and -(-features.size[axis] // stride) < shape[axis]:  # on a finer one
        stride //= 2
    return stride, stride


def _centres(positions: Tensor, stride: int, photo: int, view: int, block: float, turned: bool) -> Tensor:
    """Where the centres of positions over the photo, (n,), lie among the view's positions."""
    centres = (positions + 0.5) * stride  # in pixels from the photo's edge
    if turned:
        centres = photo - centres
    return centres * (view / photo / block) - 0.5


def _resampled(maps: Tensor, axis: int, at: Tensor) -> Tensor:
    """Linear interpolation along an axis; beyond the first and last positions the maps go on as they are there."""
    last = maps.shape[axis] - 1
    at = at.clamp(0, last)
    low = at.long()
    share = (at - low).view(-1, *([1] * (-1 - axis)))
    below = maps.index_select(axis, low)
    return torch.lerp(below, maps.index_select(axis, (low + 1).clamp(max=last)), share)
