"""The interface of map methods: small objects that turn the features of photos of one size into raw class maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork


class MapNeeds:
    """What making maps takes from the network, and from outside.

    Attributes:
        gradients: the maps differentiate (`torch.autograd.grad`). It then gets features with their graph, from a
            network as it was trained, in float32 unless --amp asks for something else; else there are no gradients,
            and batch norm may be folded into the convolutions.
        pyramid: the maps read outputs of earlier stages than the last; else only the last is kept.
        image: the maps read the network's input, `Features.image`, to put it through again. The features then have no
            graph.
    """

    @property
    def gradients(self) -> bool:
        return False

    @property
    def pyramid(self) -> bool:
        return False

    @property
    def image(self) -> bool:
        return False

    def facts(self) -> Mapping[str, str]:
        """What the maps depend on beside settings and weights, such as a file's hash, for the record."""
        return {}


class MapMethod(MapNeeds, ABC):
    """One way to make class maps. `maps.multiscale` calls it once a scale, photos and mirrors together.

    Attributes:
        threshold_key: under which the weights' card keeps the background threshold measured for this kind of map.
        default_threshold: the background threshold where the card keeps none: of this kind of map, not these weights.
    """

    @property
    @abstractmethod
    def threshold_key(self) -> str: ...

    @property
    @abstractmethod
    def default_threshold(self) -> float: ...

    def check(self, network: CamNetwork) -> None:
        """Raise `WeightsError` or `UsageError`, naming what helps, when the network lacks what is needed."""

    @abstractmethod
    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        """Raw maps of the present classes.

        Args:
            features: what `network.backbone` made of B photos.
            index: (B, N) int64, positions of the present classes in the class list; unused places hold 0.
            valid: (B, N) bool, which places of `index` are used.

        Returns:
            (B, N, h', w') float32, ≥ 0, on a grid of any size; what lies in unused places is ignored.
        """
