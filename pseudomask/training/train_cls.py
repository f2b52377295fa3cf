"""`train-cls`: the multi-label classifier (step 1 of ReCAM's public code, as in IRN and PSA)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pseudomask.config import TrainClsConfig
from pseudomask.errors import WeightsError
from pseudomask.networks.backbones import make_backbone, spec_of
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.timm_zoo import FREE
from pseudomask.networks.card import CLOSED
from pseudomask.networks.checkpoint import new_backbone
from pseudomask.networks.network import CamNetwork
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.training.fitter import Fitter
from pseudomask.training.learner import Group, Learner
from pseudomask.training.losses import classification_loss
from pseudomask.training.recipe import Recipe
from pseudomask.training.result import TrainingResult
from pseudomask.training.session import file_facts, run_training
from pseudomask.training.split import gather
from pseudomask.training.trainer import Trainer


def bce_step(network: CamNetwork, images: Tensor, tags: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of the pooled logits."""
    return classification_loss(network(images), tags), {}


def tell_facts(backbone: Backbone, reporter: Reporter) -> None:
    """Say where the weights of a backbone come from and what their licence asks for, if that is known."""
    facts = backbone.facts
    if not facts:
        return
    mean, std = (", ".join(f"{value:.3g}" for value in facts[name]) for name in ("mean", "std"))
    reporter.info(
        f"{backbone.name}: mean {mean}; std {std}; stride {backbone.output_stride}; licence {facts['license']} "
        f"({facts['origin']})"
    )
    if facts["license"] not in FREE:
        reporter.warn(
            f"licence of {facts['weights']}: {facts['license']}; it may restrict what you do with trained weights and "
            "masks, so read it first"
        )


def train_cls(config: TrainClsConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Train the classifier whose weights make class activation maps; writes RUN/weights.safetensors.

    Raises `UsageError` for photos, labels or settings that cannot work, `WeightsError` for backbone
    weights that do not fit, `TrainingDiverged` when the loss stops being a number.
    """
    reporter = reporter or SilentReporter()
    split = gather(config)
    closed = config.fit == CLOSED
    shape: dict[str, Any] = {
        "backbone": config.backbone,
        "style": config.backbone_style,
        "output_stride": config.output_stride,
    }
    with torch.device("meta"):
        sketch = make_backbone(**shape)
    shape = dict(sketch.card_facts)
    config = replace(config, freeze=sketch.freeze_point(config.freeze), output_stride=sketch.output_stride)
    start: dict[str, Any] = {"backbone": config.backbone}
    if config.backbone_weights is None:
        start["file"] = spec_of(config.backbone).pretrained
    elif config.backbone_weights.is_file():
        start |= file_facts(config.backbone_weights)
    else:
        raise WeightsError(f"{config.backbone_weights}: no such weights file")
    tell_facts(sketch, ranks().once(reporter))

    def build() -> Learner:
        backbone = new_backbone(**shape, weights=config.backbone_weights)
        network = CamNetwork(len(split.training.classes), **shape)  # drawn second: a seed draws what it always drew
        network.backbone = backbone
        backbone.freeze(config.freeze)
        if closed:
            network.add_reclassifier()
        groups = [Group(list(backbone.parameters()), config.lr), Group([network.classifier.weight], config.head_rate)]
        return Learner(network, groups, bce_step, dict(shape))

    method, trainer = ("recam", Fitter) if closed else ("cam", Trainer)
    recipe = Recipe(command="train-cls", method=method, source=start, build=build, trainer=trainer)
    return run_training(config, split, recipe, reporter)
