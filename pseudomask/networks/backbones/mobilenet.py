"""torchvision's MobileNetV3 (Howard et al., ICCV 2019) at output stride 16.

As in torchvision's segmentation networks, the last stage keeps stride 16 and is dilated. The parts end where those
networks read features: `layer2` at stride 8, `layer4` at the end.
"""

from __future__ import annotations

from collections.abc import Mapping

import torchvision.models as models
from torch import Tensor, nn

from pseudomask.config import Style
from pseudomask.errors import UsageError
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.resnet import WEIGHTS, fetch_torchvision

_PARTS = {"stem": (0, 2), "layer1": (2, 4), "layer2": (4, 5), "layer3": (5, 13), "layer4": (13, 17)}
"""The blocks of `features` in each part."""


class MobileNetBackbone(Backbone):
    """MobileNetV3-Large without its classifier, at strides (2, 4, 8, 16, 16); batch norm as in `ResNetBackbone`."""

    def __init__(self, name: str, features: nn.Sequential) -> None:
        super().__init__(
            name, parts=tuple(_PARTS), channels=(16, 24, 40, 112, 960), strides=(2, 4, 8, 16, 16), style="pytorch"
        )
        for part, (first, end) in _PARTS.items():
            setattr(self, part, nn.Sequential(*list(features)[first:end]))

    def train(self, mode: bool = True) -> MobileNetBackbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def load_pretrained(self, tensors: Mapping[str, Tensor] | None) -> None:
        """Load tensors in torchvision's naming (`features.N.…`; `classifier.*` is ignored); None downloads them."""
        self.load_renamed(self.own_names(fetch_torchvision(self.name, WEIGHTS) if tensors is None else tensors))

    def own_names(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        places = {first + i: f"{part}.{i}" for part, (first, end) in _PARTS.items() for i in range(end - first)}
        renamed = {}
        for key, value in tensors.items():
            top, number, rest = (*key.split(".", 2), "", "")[:3]
            if top != "classifier":
                known = top == "features" and number.isdigit() and int(number) in places
                renamed[f"{places[int(number)]}.{rest}" if known else key] = value
        return renamed


def torchvision_mobilenet(name: str, *, style: Style, output_stride: int) -> MobileNetBackbone:
    """torchvision's MobileNetV3-Large, with random weights; 16 is its only output stride."""
    if output_stride != 16:
        raise UsageError(f"output stride of {name} must be 16, not {output_stride}")
    network = models.mobilenet_v3_large(weights=None, dilated=True)
    for module in network.features.modules():
        if isinstance(module, nn.Conv2d):  # as torchvision draws depthwise ones, features vanish
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
    return MobileNetBackbone(name, network.features)
