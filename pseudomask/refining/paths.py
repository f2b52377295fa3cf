"""Pixel pairs with an affinity, and the paths between them (IRN, Ahn et al., CVPR 2019, §3.2).

A step leads from a pixel to another less than `radius` away, to its right or below it; the reverse step is the same
pair. A pair's affinity is 1 minus the highest boundary value on the straight path between its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Offset = tuple[int, int]
"""(dy, dx), with dy > 0, or dy = 0 and dx > 0."""


def steps(radius: int) -> list[Offset]:
    """All steps shorter than `radius`, in ascending order: 34 for radius 5, 152 for radius 10."""
    right = [(0, x) for x in range(1, radius)]
    below = [(y, x) for y in range(1, radius) for x in range(1 - radius, radius) if x * x + y * y < radius * radius]
    return right + below


def way(step: Offset) -> list[Offset]:
    """Grid points less than 1 from the line to `step`, within the bounding box of its two ends; both ends included."""
    dy, dx = step
    box = [(y, x) for y in range(dy + 1) for x in range(min(dx, 0), max(dx, 0) + 1)]
    return [(y, x) for y, x in box if (dy * x - dx * y) ** 2 < dy * dy + dx * dx]


def pad(planes: Tensor, radius: int, value: float) -> Tensor:
    """Pad (…, h, w) with `value` wherever a step can lead: left, right and below."""
    reach = radius - 1
    return F.pad(planes, (reach, reach, 0, reach), value=value)


def shifted(padded: Tensor, step: Offset, radius: int) -> Tensor:
    """A view (…, h, w) of the result of `pad` that holds, at each pixel, the value one `step` away."""
    reach = radius - 1
    h, w = padded.shape[-2] - reach, padded.shape[-1] - 2 * reach
    y, x = step[0], step[1] + reach
    return padded[..., y : y + h, x : x + w]


def affinities(edges: Tensor, radius: int) -> Tensor:
    """1 − the highest boundary value on each pair's path; 0 where the step leaves the image.

    Args:
        edges: (h, w) or (B, h, w), boundary probability in [0, 1].

    Returns:
        (K, h, w) or (K, B, h, w), for each of the K steps the affinity of each pixel and the pixel that step away.
    """
    padded = pad(edges, radius, 1.0)
    ways = [way(step) for step in steps(radius)]
    found = edges.new_empty(len(ways), *edges.shape)
    for highest, (start, *others) in zip(found, ways, strict=True):
        highest.copy_(shifted(padded, start, radius))
        for point in others:
            torch.maximum(highest, shifted(padded, point, radius), out=highest)
    return found.neg_().add_(1)


def highest_points(edges: Tensor, radius: int) -> Iterator[tuple[Offset, Tensor]]:
    """For each step, the position of the highest boundary value on each pixel's path, to which the gradient flows.

    Args:
        edges: (B, h, w).

    Yields:
        the step, and (B, h, w) int64 positions in the flattened planes of `pad(edges, radius, …)`.
    """
    padded = pad(edges, radius, 1.0)
    width = padded.shape[-1]
    positions = torch.arange(padded.shape[-2] * width, device=edges.device).view(padded.shape[-2:])
    here = shifted(positions, (0, 0), radius)
    for step in steps(radius):
        points = way(step)
        # Point by point, because an argmax over stacked points is slower.
        highest = shifted(padded, points[0], radius)
        best = torch.zeros(highest.shape, dtype=torch.int16, device=edges.device)
        for k, point in enumerate(points[1:], 1):
            value = shifted(padded, point, radius)
            best.masked_fill_(value > highest, k)
            highest = torch.maximum(highest, value)
        apart = torch.tensor([y * width + x for y, x in points], device=edges.device)
        yield step, here + apart[best.long()]
