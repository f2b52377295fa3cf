"""Convert a region of pixels to polygons, one per part; filling them restores the region."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Outline:
    """A region's polygons: int (n, 2) arrays of (x, y), through the centres of its outermost pixels.

    holes: how many were joined to their part's outline; thin: pixels of parts that are points or lines, which have no
    polygon.
    """

    parts: tuple[np.ndarray, ...]
    holes: int
    thin: int


def outline(region: np.ndarray) -> Outline:
    """Polygons of a region, bool (H, W); pixels of a part touch at a side or corner.

    A hole is joined to the outline by a horizontal cut, so that a part remains one polygon. `cv2.fillPoly` of the
    polygons gives the region, except thin parts.
    """
    pixels = region.astype(np.uint8)
    contours, tree = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [ring[:, 0] for ring in contours]
    parts, holes, thin = [], 0, 0
    for index, ring in enumerate(rings):
        if tree[0][index][3] >= 0:
            continue  # a hole, handled with its part
        inner = [rings[child] for child in _children(tree[0], index)]
        corners = _corners(_joined(ring, inner, pixels))
        if len(np.unique(corners, axis=0)) < 3:
            thin += len(np.unique(ring, axis=0))
            continue
        parts.append(corners)
        holes += len(inner)
    return Outline(tuple(parts), holes, thin)


def _children(tree: np.ndarray, index: int) -> list[int]:
    found, child = [], int(tree[index][2])
    while child >= 0:
        found.append(child)
        child = int(tree[child][0])
    return found


def _joined(ring: np.ndarray, holes: list[np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """One closed ring: from each hole's leftmost pixel a cut goes left to the outline or an earlier hole."""
    for hole in sorted(holes, key=lambda points: int(points[:, 0].min())):
        first = int(hole[:, 0].argmin())
        x, y = hole[first]
        gaps = np.flatnonzero(pixels[y, :x] == 0)
        left = int(gaps[-1]) + 1 if len(gaps) else 0
        meet = int(np.flatnonzero((ring == (left, y)).all(1))[0])
        around = np.concatenate((hole[first:], hole[: first + 1]))
        ring = np.concatenate((ring[: meet + 1], around, ring[meet:]))
    return ring


def _corners(ring: np.ndarray) -> np.ndarray:
    """The ring without the points inside straight lines."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    straight = (before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]) & ((before * after).sum(1) > 0)
    corners: np.ndarray = ring[~straight]
    return corners
