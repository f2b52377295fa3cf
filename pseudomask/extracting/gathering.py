"""Feature vectors of classes and their context, drawn from photos by a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pseudomask.config import PrototypesConfig
from pseudomask.extracting.photos import Photo
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.multiscale import see
from pseudomask.maps.normalise import normalise_maps
from pseudomask.networks.network import CamNetwork


@dataclass
class Gatherer:
    """Draws feature vectors of each class and its context from photos.

    Attributes:
        wanted: photo key → positions of the classes that it is looked at for.
        share: how many vectors a photo gives for each class.
    """

    network: CamNetwork
    method: LinearMaps
    device: torch.device
    amp: torch.dtype | None
    config: PrototypesConfig
    wanted: dict[str, tuple[int, ...]]
    share: list[int]
    found: dict[tuple[int, bool], list[Tensor]] = field(default_factory=dict)

    def take(self, photos: Sequence[tuple[str, Photo]]) -> Sequence[None]:
        """Vectors of photos of one size."""
        pixels = torch.stack([photo.views[0] for _, photo in photos]).to(self.device)
        features = see(self.network, self.method, pixels, (False,), amp=self.amp)
        every = torch.arange(self.network.n_classes, device=self.device).expand(len(pixels), -1)
        with torch.inference_mode():
            maps = normalise_maps(self.method.activate(self.network, features, every, torch.ones_like(every) > 0))
            for (key, _), vectors, planes in zip(photos, features.last.flatten(2).mT, maps.flatten(2), strict=True):
                for c in self.wanted[key]:
                    self._draw(key, c, vectors, planes[c] > self.config.foreground)
        return [None] * len(photos)

    def _draw(self, key: str, c: int, vectors: Tensor, inside: Tensor) -> None:
        """A photo's vectors (P, D) of a class, and of the positions around it; the same whatever its companions."""
        generator = torch.Generator().manual_seed(number(f"{self.config.seed} {c} {key}"))
        for part, where in ((True, inside), (False, ~inside)):
            places = where.nonzero()[:, 0].cpu()
            drawn = places[torch.randperm(len(places), generator=generator)[: self.share[c]]]
            self.found.setdefault((c, part), []).append(vectors[drawn.to(vectors.device)].half().cpu())

    def vectors(self, c: int, part: bool) -> Tensor:
        """(M, D) float32, at most `config.vectors`."""
        rows = self.found.get((c, part), [])
        dim = self.network.backbone.dim
        return torch.cat([torch.zeros(0, dim), *(one.float() for one in rows)])[: self.config.vectors]


def number(text: str) -> int:
    """A seed that depends on all of a text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:7])
