"""Registry of backbones: one file per family, one line per backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from pseudomask.config import Style
from pseudomask.errors import UsageError
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.mobilenet import torchvision_mobilenet
from pseudomask.networks.backbones.resnet import WEIGHTS, torchvision_resnet
from pseudomask.networks.backbones.timm_backbone import from_timm
from pseudomask.networks.backbones.timm_zoo import PREFIX
from pseudomask.suggest import did_you_mean


@dataclass(frozen=True)
class BackboneSpec:
    """One line of the registry.

    Attributes:
        make: (name, style=, output_stride=) → the backbone with random weights; `UsageError` for unsupported values.
        pretrained: description of the weights that `load_pretrained(None)` downloads.
    """

    make: Callable[..., Backbone]
    pretrained: str


USUAL_STRIDE = 16

_TORCHVISION = BackboneSpec(torchvision_resnet, f"torchvision {WEIGHTS}")

BACKBONES: dict[str, BackboneSpec] = {
    "resnet18": _TORCHVISION,
    "resnet34": _TORCHVISION,
    "resnet50": _TORCHVISION,
    "resnet101": _TORCHVISION,
    "resnet152": _TORCHVISION,
    "resnext50_32x4d": _TORCHVISION,
    "resnext101_32x8d": _TORCHVISION,
    "resnext101_64x4d": _TORCHVISION,
    "wide_resnet50_2": _TORCHVISION,
    "wide_resnet101_2": _TORCHVISION,
    "mobilenet_v3_large": BackboneSpec(torchvision_mobilenet, f"torchvision {WEIGHTS}"),
}


def spec_of(name: str) -> BackboneSpec:
    """The registry entry of a backbone, or that of all `timm:NAME`.

    Raises `UsageError`, with the valid names, for an unknown one.
    """
    if name.startswith(PREFIX):
        return BackboneSpec(from_timm, name)
    try:
        return BACKBONES[name]
    except KeyError:
        raise UsageError(
            f"unknown backbone {name!r}{did_you_mean(name, BACKBONES)}; there are {', '.join(BACKBONES)}, and "
            f"{PREFIX}NAME for timm's"
        ) from None


def make_backbone(backbone: str, *, style: str = "pytorch", output_stride: int | None = None) -> Backbone:
    """A backbone with random weights; without `output_stride` at 16, or at its own if it has no 16.

    Raises `UsageError` for an unknown name, style or output stride.
    """
    spec = spec_of(backbone)
    if style not in get_args(Style):
        raise UsageError(f"unknown style {style!r}; there are {', '.join(get_args(Style))}")
    made = spec.make(backbone, style=style, output_stride=USUAL_STRIDE if output_stride is None else output_stride)
    if made.style != style:
        raise UsageError(f"{backbone} has no {style} stride style; give --backbone-style {made.style}")
    if output_stride is not None and made.output_stride != output_stride:
        raise UsageError(
            f"output stride of {backbone} is {made.output_stride}, not {output_stride}; "
            f"give --output-stride {made.output_stride}"
        )
    return made
