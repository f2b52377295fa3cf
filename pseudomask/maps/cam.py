"""CAM (Zhou et al., CVPR 2016) and ReCAM (Chen et al., CVPR 2022): the class maps of a linear classifier."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from pseudomask.config import WeightRule
from pseudomask.maps.cams.plain import Plain
from pseudomask.maps.cams.plain import present_class_maps as present_class_maps
from pseudomask.maps.cams.variant import Cam, NeedsOfCam
from pseudomask.maps.method import MapMethod
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork


@dataclass(frozen=True)
class LinearMaps(NeedsOfCam, MapMethod):
    """The maps of a classifier whose weights follow a rule.

    Attributes:
        rule: `first` uses plain CAM's classifier; the others need the second one.
        cam: the kind of map.
    """

    rule: WeightRule
    cam: Cam = field(default_factory=Plain)

    @property
    def threshold_key(self) -> str:
        return key_of(self.rule, self.cam)

    @property
    def default_threshold(self) -> float:
        return self.cam.default_threshold

    def check(self, network: CamNetwork) -> None:
        network.map_weights(self.rule)
        self.cam.check(network, self.rule)

    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        return self.cam.maps(network, features, network.map_weights(self.rule), index, valid)


def key_of(start: str, cam: Cam) -> str:
    """The key of a threshold on a card: the rule or method, plus the kind of map unless it is plain."""
    return start if cam.name == "plain" else f"{start}_{cam.name}"
