"""Superpixels: small watershed regions, merged where their colours are similar. They need no weights.

The small regions grow from one seed per grid cell, placed where the gradient is lowest, as in Machairas et al.,
"Waterpixels" (2015). They merge like pixels in Felzenszwalb and Huttenlocher, "Efficient graph-based image
segmentation" (2004): two merge if their colours differ by no more than the colours within each of them, plus k / size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from pseudomask.config import RefineConfig
from pseudomask.refining.grid import shrink
from pseudomask.refining.refiner import Refined
from pseudomask.refining.regions import Region, refine_by, regions_of
from pseudomask.scores import ScoreMap

_SMOOTH = 1.0  # pixels; blur applied before computing gradients and colours


@dataclass(frozen=True)
class Superpixels:
    """The refiner; see `SuperpixelsOptions`."""

    size: int = 8
    scales: tuple[int, ...] = (300, 1000, 3000, 10000)
    side: int = 1024

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        return refine_by(self.regions, self.side, photo, scores, threshold)

    def regions(self, photo: np.ndarray, stride: int) -> Iterator[Region]:
        """Superpixels at each scale; those of one scale cover the photo."""
        reduced = np.rint(shrink(photo, stride)).astype(np.uint8)
        image = cv2.GaussianBlur(cv2.cvtColor(reduced, cv2.COLOR_RGB2LAB), (0, 0), _SMOOTH)
        labels = watershed(image, self.size)
        for scale in self.scales:
            yield from regions_of(merged(labels, image, scale))


def watershed(image: np.ndarray, step: int) -> np.ndarray:
    """Watershed labels from 0, int32 (h, w), of a uint8 image (h, w, 3): about one per step × step pixels."""
    h, w = image.shape[:2]
    values = image.astype(np.float32)
    slope = sum((cv2.Sobel(values, cv2.CV_32F, x, 1 - x) ** 2).sum(2) for x in (0, 1))
    rows, columns = -(-h // step), -(-w // step)
    cells = np.full((rows * step, columns * step), np.inf, np.float32)
    cells[:h, :w] = slope
    cells = cells.reshape(rows, step, columns, step).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    least = cells.argmin(2)
    y = np.arange(rows)[:, None] * step + least // step
    x = np.arange(columns) * step + least % step
    labels = np.zeros((h + 2, w + 2), np.int32)  # OpenCV leaves the outermost pixels without a label
    labels[y + 1, x + 1] = np.arange(1, rows * columns + 1).reshape(rows, columns)
    cv2.watershed(cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_REPLICATE), labels)
    labels = labels[1:-1, 1:-1]
    while (lines := labels <= 0).any():  # lines between regions take the highest neighbouring label
        near = cv2.dilate(labels.astype(np.float32), np.ones((3, 3), np.uint8))
        labels = np.where(lines, near.astype(np.int32), labels)
    return labels - 1


def merged(labels: np.ndarray, image: np.ndarray, scale: float) -> np.ndarray:
    """Merge similar neighbouring regions of labels (h, w), from 0. `scale`: k, in colour × pixels; 0: no merging."""
    flat, n = labels.ravel(), int(labels.max()) + 1
    size = np.bincount(flat, minlength=n).astype(float)
    colours = np.stack([np.bincount(flat, image[..., i].ravel(), n) / np.maximum(size, 1) for i in range(3)], 1)
    edges = _edges(labels, n)
    weights = np.sqrt(((colours[edges[:, 0]] - colours[edges[:, 1]]) ** 2).sum(1))
    parents, within, sizes = list(range(n)), [0.0] * n, size.tolist()
    for i in np.argsort(weights, kind="stable").tolist():
        one, other = (_root(parents, int(end)) for end in edges[i])
        weight = float(weights[i])
        if one != other and weight <= min(within[k] + scale / sizes[k] for k in (one, other)):
            parents[other], within[one] = one, weight
            sizes[one] += sizes[other]
    roots = np.array([_root(parents, k) for k in range(n)])
    found: np.ndarray = np.unique(roots, return_inverse=True)[1].ravel()[labels]
    return found


def _edges(labels: np.ndarray, n: int) -> np.ndarray:
    """Pairs of adjacent labels, (e, 2)."""
    one = np.concatenate([labels[:, :-1].ravel(), labels[:-1].ravel()]).astype(np.int64)
    other = np.concatenate([labels[:, 1:].ravel(), labels[1:].ravel()])
    apart = one != other
    pairs = np.unique(np.minimum(one, other)[apart] * n + np.maximum(one, other)[apart])
    return np.stack([pairs // n, pairs % n], 1)


def _root(parents: list[int], k: int) -> int:
    while parents[k] != k:
        parents[k] = parents[parents[k]]
        k = parents[k]
    return k


def make(config: RefineConfig, device: str) -> Superpixels:
    return Superpixels(config.superpixel_size, config.superpixel_scale or (0,), config.region_side)
