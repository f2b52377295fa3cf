"""One look at each photo through the frozen backbone, for what is computed in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudomask.data.decoding import decode
from pseudomask.data.pixels import resize, with_long_side
from pseudomask.errors import ImageError, UsageError
from pseudomask.measuring.counting import in_order
from pseudomask.networks.network import CamNetwork
from pseudomask.running.helpers import lower_thread_priority
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop
from pseudomask.training.base import BaseTrainer
from pseudomask.training.samples import TrainingCrops

SIDE = 320
"""Long side of the photos that are looked at."""
ENOUGH, A_CLASS = 600, 20
"""Most photos that are used: this many, or so many a class if that is more."""


@dataclass(frozen=True)
class Looker:
    """Shows whole photos to a network.

    Attributes:
        workers: threads that decode ahead; −1: as many as torch uses.
    """

    network: CamNetwork
    crops: TrainingCrops
    device: torch.device
    amp: torch.dtype | None
    workers: int

    @classmethod
    def of(cls, trainer: BaseTrainer) -> Looker:
        """The network and the photos of a training."""
        assert isinstance(trainer.network, CamNetwork)
        assert isinstance(trainer.crops, TrainingCrops)
        return cls(trainer.network, trainer.crops, trainer.device, trainer.amp, trainer.options.workers)

    def look(
        self, photos: list[int], reporter: Reporter, lead: Reporter, stop: Stop
    ) -> Iterator[tuple[int, Tensor | None]]:
        """Each photo with its features, (D, h, w) float16 in the CPU's memory; None if it cannot be read.

        Ends early where a stop is requested.
        """
        with lead.progress(len(photos), "looking") as progress:
            for photo, pixels in self.pixels(photos):
                if isinstance(pixels, str):
                    reporter.warn(f"skipped: {pixels}")
                    yield photo, None
                else:
                    yield photo, self._features(pixels)
                progress.advance(1)
                if stop.requested:
                    return

    def pixels(self, photos: list[int]) -> Iterator[tuple[int, Tensor | str]]:
        """Each photo, uint8 (h, w, 3), or why it cannot be read."""
        threads = torch.get_num_threads() if self.workers < 0 else self.workers
        read = partial(_reduced, reading=self.crops.reading)
        paths = [self.crops.paths[i] for i in photos]
        yield from zip(photos, in_order(read, paths, threads + 1 if threads else 0, lower_thread_priority), strict=True)

    def tags(self, photo: int) -> list[int]:
        """Positions of the photo's classes."""
        found: list[int] = np.flatnonzero(self.crops.tags[photo]).tolist()
        return found

    @torch.no_grad()
    def _features(self, pixels: Tensor) -> Tensor:
        x = self.network.backbone.normalisation.to_input(pixels[None].to(self.device), self.amp)
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            seen: Tensor = self.network.backbone(x, pyramid=False).last[0].half().cpu()
        return seen


def choose_photos(tags: np.ndarray, seed: int) -> list[int]:
    """Positions of the photos to look at: all, or a random choice in which each class has an equal share if it can."""
    count, classes = tags.shape
    most = max(ENOUGH, A_CLASS * classes)
    order = np.random.default_rng([seed, 0x1DA]).permutation(count)
    if count <= most:
        return sorted(order.tolist())
    groups = [order[tags[order, c] > 0] for c in range(classes)] + [order[~tags[order].any(1)]]
    shares = np.linspace(0, most, len(groups) + 1).astype(int)
    sizes = [end - start for start, end in pairwise(shares.tolist())]
    chosen: dict[int, None] = {}
    for group, size in zip(groups, sizes, strict=True):
        chosen.update(dict.fromkeys(group[:size].tolist()))
    chosen.update(dict.fromkeys(order.tolist()))  # what rare classes leave to the others
    return sorted(list(chosen)[:most])


def _reduced(path: Path, reading: Any) -> Tensor | str:
    try:
        image = decode(path, reading=reading)
    except (ImageError, UsageError) as error:
        return str(error)
    size = with_long_side((image.shape[0], image.shape[1]), SIDE)
    return torch.from_numpy(np.ascontiguousarray(resize(image, size)))
