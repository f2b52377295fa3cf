"""Photos through a segmentation network, as score maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pseudomask.data.pixels import resize, with_long_side
from pseudomask.extracting.photos import Photo, reduction
from pseudomask.networks.segmenter import Segmenter, likeliest
from pseudomask.running.halving import halving_on
from pseudomask.running.reporter import Reporter
from pseudomask.scores import Bits, ScoreMap, quantise
from pseudomask.segmenting.tiles import at_grid, in_tiles

THRESHOLD = 0.5
"""The background threshold of the scores: above it a class is likelier than the background."""

Tagged = tuple[Photo, tuple[int, ...] | None]


@dataclass(frozen=True)
class Segmented:
    """A photo's scores (`Made`)."""

    scores: ScoreMap
    found: None = None


@dataclass
class SegmentEngine:
    """Network and machine; `largest` shrinks when the device's memory runs out.

    Attributes:
        side: long side at which photos are segmented; 0 for their own.
        tile, overlap: of the tiles in which larger photos are seen.
        max_side, stride: of the score grid, as in `Engine`; `bits`: of the stored scores.
    """

    network: Segmenter
    device: torch.device
    amp: torch.dtype | None
    side: int
    tile: int
    overlap: int
    max_side: int
    stride: int
    bits: Bits
    largest: int
    reporter: Reporter

    def make(self, photos: Sequence[Photo], tags: Sequence[tuple[int, ...] | None]) -> list[Segmented]:
        """Score maps of photos of equal shape; only the tagged classes can appear where there are tags."""
        pairs = list(zip(photos, tags, strict=True))
        lower = "--tile or --side and add --overwrite"
        done, self.largest = halving_on(self.device, pairs, self.largest, self._make, self.reporter, lower=lower)
        return done

    def _make(self, pairs: Sequence[Tagged]) -> list[Segmented]:
        pixels = torch.stack([self._enlarged(photo.views[0]) for photo, _ in pairs])
        seen = (int(pixels.shape[1]), int(pixels.shape[2]))
        cells = in_tiles(pixels, self._see, tile=self.tile, overlap=self.overlap)
        return [self._scores(cells[i : i + 1], seen, *pair) for i, pair in enumerate(pairs)]

    def _enlarged(self, view: Tensor) -> Tensor:
        """A view that is smaller than the photos of the training, at their size."""
        size = (int(view.shape[0]), int(view.shape[1]))
        return (
            view if max(size) >= self.side else torch.from_numpy(resize(view.numpy(), with_long_side(size, self.side)))
        )

    def _see(self, pixels: Tensor) -> Tensor:
        return likeliest(self.network, pixels.to(self.device), self.amp)

    def _scores(self, cells: Tensor, seen: tuple[int, int], photo: Photo, tags: tuple[int, ...] | None) -> Segmented:
        """Each class's share of the probability that it and the background have: above 0.5 it is the likelier one."""
        stride = self.stride * reduction(photo.size, self.max_side)
        likely = at_grid(cells, seen=seen, size=photo.size, stride=stride)[0]
        shares = likely[1:] / (likely[1:] + likely[:1]).clamp_min(1e-12)
        if tags is None:
            best, winner = shares.max(0)
            won = tuple(winner[best > THRESHOLD].unique().tolist())
            shown = np.unique(quantise(_map(shares, won, photo, stride), self.bits).mask(THRESHOLD))
            tags = tuple(int(label) - 1 for label in shown if label)
        return Segmented(_map(shares, tags, photo, stride))


def _map(shares: Tensor, classes: Sequence[int], photo: Photo, stride: int) -> ScoreMap:
    values = shares[list(classes)].clamp(0, 1).cpu().numpy()
    return ScoreMap(tuple(c + 1 for c in classes), values, photo.size, stride)
