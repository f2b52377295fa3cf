"""The backbone that `train-cls` starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pseudomask.config import Style, TrainClsConfig, TrainSegConfig
from pseudomask.data.survey import recorded_config
from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones import make_backbone, spec_of
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.timm_zoo import PREFIX
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import is_ours, read_card
from pseudomask.networks.states import new_backbone
from pseudomask.networks.store import NAMED, find_weights
from pseudomask.suggest import did_you_mean_path
from pseudomask.training.session import file_facts

IMAGENET, TORCHVISION = "imagenet", "torchvision"


@dataclass(frozen=True)
class Start:
    """A backbone and its weights.

    Attributes:
        sketch: the backbone on the meta device.
        file: its weights; None for those that the family publishes, which are downloaded.
    """

    sketch: Backbone
    file: Path | None

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments of `make_backbone`."""
        return dict(self.sketch.card_facts)

    def build(self) -> Backbone:
        return new_backbone(**self.shape, weights=self.file)

    def facts(self) -> dict[str, Any]:
        """For the run's record."""
        if self.file is None:
            return {"backbone": self.sketch.name, "file": spec_of(self.sketch.name).pretrained}
        return {"backbone": self.sketch.name, **file_facts(self.file)}


def choose_start(config: TrainClsConfig | TrainSegConfig) -> Start:
    """Where to start: the weights that are named, else ImageNet's that come with pseudomask, else torchvision's.

    A run begun by a version without bundled ImageNet weights goes on with torchvision's. Raises `WeightsError` for a
    missing file, or one with another backbone, and `UsageError` for a stride style that it does not have.
    """
    file = _file(config)
    style: Style = config.backbone_style or "pytorch"
    if file is not None and is_ours(file):
        card = read_card(file)
        own = _style_of(card, config, file)
        if config.backbone_style not in (None, own):
            raise UsageError(
                f"--backbone-style {config.backbone_style}: the backbone of {file.name} has the style {own}"
            )
        style = own
    with torch.device("meta"):
        return Start(make_backbone(config.backbone, style=style, output_stride=config.output_stride), file)


def _file(config: TrainClsConfig | TrainSegConfig) -> Path | None:
    named = config.backbone_weights
    if named is None:
        return _usual(config)
    if named.is_file():
        return named
    if str(named) in NAMED:
        return find_weights(named)
    if str(named) == TORCHVISION and config.backbone.startswith(PREFIX):
        raise UsageError(f"--backbone-weights {TORCHVISION}: {config.backbone} is timm's; leave it out for timm's own")
    if str(named) == TORCHVISION:
        return None
    raise WeightsError(f"{named}: no such weights file{did_you_mean_path(named)}")


def _usual(config: TrainClsConfig | TrainSegConfig) -> Path | None:
    earlier = None if config.overwrite else recorded_config(config.run)
    begun = earlier is not None and earlier.get("backbone_weights") is None
    if begun and earlier is not None and earlier.get("backbone_style") == "pytorch":
        return None
    try:
        file = find_weights(Path(IMAGENET))
    except WeightsError:  # an installation without them
        return None
    fits = read_card(file).backbone == config.backbone and config.backbone_style in (None, "caffe")
    return file if fits else None


def _style_of(card: Card, config: TrainClsConfig | TrainSegConfig, file: Path) -> Style:
    if card.backbone != config.backbone:
        raise WeightsError(f"{file}: its backbone is a {card.backbone}; give --backbone {card.backbone}")
    style: Style = card.network.get("style", "pytorch")
    return style
