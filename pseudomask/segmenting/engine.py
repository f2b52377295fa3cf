"""Photos through a segmentation network, as score maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pseudomask.data.pixels import resize, resize_together, with_long_side
from pseudomask.extracting.photos import Photo, reduction
from pseudomask.extracting.transfers import Fetched, send_together
from pseudomask.networks.segmenter import Segmenter, likeliest
from pseudomask.running.halving import halving_on
from pseudomask.running.reporter import Reporter
from pseudomask.scores import Bits, ScoreMap, quantise
from pseudomask.segmenting.tiles import at_grid, in_tiles

THRESHOLD = 0.5
"""The background threshold of the scores: above it a class is likelier than the background."""

Tagged = tuple[Photo, tuple[int, ...] | None]


@dataclass
class Segmented:
    """A photo's scores (`Made`), perhaps still on their way from the device.

    Attributes:
        shares: each class's share of the probability that it and the background have, (C, h, w).
        tags: the only classes that can appear, if known.
    """

    shares: Fetched
    size: tuple[int, int]
    stride: int
    bits: Bits
    tags: tuple[int, ...] | None
    found: None = None

    @cached_property
    def scores(self) -> ScoreMap:
        """Waits until the device has made them."""
        shares, tags = self.shares.get(), self.tags
        if tags is None:
            best, winner = shares.max(0)
            won = tuple(winner[best > THRESHOLD].unique().tolist())
            shown = np.unique(quantise(self._map(shares, won), self.bits).mask(THRESHOLD))
            tags = tuple(int(label) - 1 for label in shown if label)
        return self._map(shares, tags)

    def _map(self, shares: Tensor, classes: Sequence[int]) -> ScoreMap:
        values = shares[list(classes)].clamp(0, 1).numpy()
        return ScoreMap(tuple(c + 1 for c in classes), values, self.size, self.stride)


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
        pixels = self._enlarged(send_together([photo.views[0] for photo, _ in pairs], self.device))
        seen = (int(pixels.shape[1]), int(pixels.shape[2]))
        cells = in_tiles(pixels, self._see, tile=self.tile, overlap=self.overlap)
        return [self._scores(cells[i : i + 1], seen, *pair) for i, pair in enumerate(pairs)]

    def _enlarged(self, views: Tensor) -> Tensor:
        """Views that are smaller than the photos of the training, at their size: uint8 (B, h, w, 3)."""
        size = (int(views.shape[1]), int(views.shape[2]))
        if max(size) >= self.side:
            return views
        size = with_long_side(size, self.side)
        if views.device.type != "cpu":
            return resize_together(views, size)
        return torch.stack([torch.from_numpy(resize(view.numpy(), size)) for view in views])

    def _see(self, pixels: Tensor) -> Tensor:
        return likeliest(self.network, pixels, self.amp)

    def _scores(self, cells: Tensor, seen: tuple[int, int], photo: Photo, tags: tuple[int, ...] | None) -> Segmented:
        """Each class's share of the probability that it and the background have: above 0.5 it is the likelier one."""
        stride = self.stride * reduction(photo.size, self.max_side)
        likely = at_grid(cells, seen=seen, size=photo.size, stride=stride)[0]
        shares = likely[1:] / (likely[1:] + likely[:1]).clamp_min(1e-12)
        made = Segmented(Fetched(shares), photo.size, stride, self.bits, tags)
        if self.device.type == "cpu":
            _ = made.scores  # the maps of classes that are not there take up memory, and nothing is gained by waiting
            made.shares = Fetched(shares[:0])
        return made
