"""The interface of class maps: features and a linear classifier's weights in, one map per class out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pseudomask.config import WeightRule
from pseudomask.maps.method import MapNeeds
from pseudomask.networks.card import Card
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork


class Cam(MapNeeds, ABC):
    """One kind of class map (`--cam`).

    Works with any weights: w, w″, their product or sum. Methods that start from a classifier's map call `maps`.

    Attributes:
        name: as in the registry.
        default_threshold: background threshold of these maps if the card has none.
    """

    name: ClassVar[str]

    @property
    def default_threshold(self) -> float:
        return 0.2

    @property
    def made_for(self) -> WeightRule | None:
        """The weight rule that these maps need; None for any."""
        return None

    @classmethod
    def of(cls, config: Any, card: Card) -> Self:
        """Build from a config, for weights with this card. Raises `UsageError` for settings that make no sense."""
        return cls()

    def check(self, network: CamNetwork, rule: WeightRule) -> None:
        """Raise `WeightsError` or `UsageError`, naming the remedy, if the network lacks something."""

    @abstractmethod
    def maps(self, network: CamNetwork, features: Features, weights: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        """Raw maps of the present classes.

        Args:
            features: of B photos.
            weights: (C, D, 1, 1), the classifier's; its logits are their product with the mean of `features.last`.
            index, valid: (B, N), see `MapMethod.activate`.

        Returns:
            (B, N, h', w') float32, ≥ 0; values in unused places are ignored.
        """


class NeedsOfCam(MapNeeds):
    """Base class for whatever makes its maps with a `Cam` and therefore shares its needs."""

    cam: Cam

    @property
    def gradients(self) -> bool:
        return self.cam.gradients

    @property
    def pyramid(self) -> bool:
        return self.cam.pyramid

    @property
    def image(self) -> bool:
        return self.cam.image

    def facts(self) -> Mapping[str, str]:
        return self.cam.facts()


class WeightedCam(Cam):
    """A map in closed form: ReLU(v · f(p)), where `weigh` computes v for each photo and class.

    A class whose map would be 0 everywhere, because its rivals win at every position, gets its plain map.
    """

    @abstractmethod
    def weigh(self, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        """(B, D, h, w), (C, D), (B, N) → (B, N, D); gradients pass through it."""

    def maps(self, network: CamNetwork, features: Features, weights: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        table = weights.flatten(1)
        with torch.autocast(features.last.device.type, enabled=False):
            found = weighted_maps(features.last, self.weigh(features.last, table.float(), index))
        empty = valid & (found.amax((2, 3)) <= 0)
        if bool(empty.any()):
            found = torch.where(empty[..., None, None], weighted_maps(features.last, table[index]), found)
        return found


def weighted_maps(features: Tensor, chosen: Tensor) -> Tensor:
    """ReLU(v · f(p)) in float32: (B, D, h, w), (B, N, D) → (B, N, h, w), ≥ 0."""
    h, w = features.shape[-2:]
    rows = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, hw, D), the memory layout of channels-last features
    # On a CPU, as many as fit in its cache, so that the float32 features never reach main memory.
    step = 256 if features.device.type == "cpu" else h * w
    with torch.autocast(features.device.type, enabled=False):
        vectors = chosen.float()
        maps = torch.cat([vectors @ part.float().mT for part in rows.split(step, 1)], 2)  # (B, N, hw)
    found: Tensor = torch.relu(maps).unflatten(2, (h, w))
    return found


def pooled(features: Tensor) -> Tensor:
    """The mean over positions, the classifier's input: (B, D, h, w) → (B, D) float32."""
    return features.mean((2, 3), dtype=torch.float32)
