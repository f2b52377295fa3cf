"""What a CAM method is: a small object that turns photos at one size into raw class maps."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from pseudomask.networks.network import CamNetwork


class MapMethod(Protocol):
    """One way to make class maps. `maps.multiscale` calls it once a scale, photos and mirrors together."""

    @property
    def threshold_key(self) -> str:
        """Under which the weights' card keeps the background threshold measured for this kind of map."""
        ...

    @property
    def default_threshold(self) -> float:
        """The background threshold where the card keeps none: of this kind of map, not of these weights."""
        ...

    def check(self, network: CamNetwork) -> None:
        """Raise `WeightsError`, naming the verb that helps, when the network lacks what is needed."""

    def activate(self, network: CamNetwork, images: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        """Raw maps of the present classes.

        Args:
            images: (B, 3, h, w), normalised.
            index: (B, N) int64, positions of the present classes in the class list; unused places hold 0.
            valid: (B, N) bool, which places of `index` are used.

        Returns:
            (B, N, h', w') float32, ≥ 0, on the network's output grid; what lies in unused places is ignored.
        """
        ...
