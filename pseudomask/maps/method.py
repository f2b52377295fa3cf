"""The interface of map methods: small objects that turn the features of photos of one size into raw class maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork


class MapNeeds:
    """What a way of making maps needs from the network and from elsewhere.

    Attributes:
        gradients: whether it differentiates (`torch.autograd.grad`). If so, it gets features with their graph, from the
            network as trained, in float32 unless --amp says otherwise; if not, there are no gradients, and batch
            norm may be folded into the convolutions.
        pyramid: whether it reads the outputs of stages before the last; otherwise only the last is kept.
        attention: whether it reads the attention between positions, where the backbone has one.
        image: whether it reads the network's input, `Features.image`, to run the network again. The features then
            have no graph.
    """

    @property
    def gradients(self) -> bool:
        return False

    @property
    def pyramid(self) -> bool:
        return False

    @property
    def attention(self) -> bool:
        return False

    @property
    def image(self) -> bool:
        return False

    def facts(self) -> Mapping[str, str]:
        """What the maps depend on besides settings and weights, such as a file's hash, for the record."""
        return {}


class MapMethod(MapNeeds, ABC):
    """One way to make class maps. `maps.multiscale` calls it once per scale, with photos and mirrors in one batch.

    Attributes:
        threshold_key: the key in the weights' card of the background threshold measured for this kind of map.
        default_threshold: used if the card has none: a background threshold for the kind of map, not for the weights.
        walk_seeds: `--walk-seeds` for scores of this kind, unless given: above 0 if they cover whole objects.
    """

    walk_seeds: ClassVar[float] = 0.0

    @property
    @abstractmethod
    def threshold_key(self) -> str: ...

    @property
    @abstractmethod
    def default_threshold(self) -> float: ...

    def check(self, network: CamNetwork) -> None:
        """Raise `WeightsError` or `UsageError`, naming the remedy, if the network lacks something."""

    @abstractmethod
    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        """Raw maps of the present classes.

        Args:
            features: the output of `network.backbone` for B photos.
            index: (B, N) int64, positions of the present classes in the class list; unused places hold 0.
            valid: (B, N) bool, which places of `index` are used.

        Returns:
            (B, N, h', w') float32, ≥ 0, on a grid of any size; values in unused places are ignored.
        """
