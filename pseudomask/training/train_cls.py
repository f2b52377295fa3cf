"""`train-cls`: the multi-label classifier (step 1 of ReCAM's public code, as in IRN and PSA)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pseudomask.config import TrainClsConfig
from pseudomask.errors import WeightsError
from pseudomask.networks.backbones import make_backbone, spec_of
from pseudomask.networks.card import CLOSED
from pseudomask.networks.checkpoint import new_backbone
from pseudomask.networks.network import CamNetwork
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.training.fitter import Fitter
from pseudomask.training.learner import Group, Learner, LossFunction
from pseudomask.training.losses import balanced_weights, classification_loss
from pseudomask.training.recipe import Recipe
from pseudomask.training.result import TrainingResult
from pseudomask.training.session import file_facts, run_training
from pseudomask.training.split import gather, tag_matrix
from pseudomask.training.start import from_closed_form, settled
from pseudomask.training.trainer import Trainer


def bce_step(weights: Tensor | None = None) -> LossFunction:
    """Binary cross-entropy of the pooled logits; `weights` as `classification_loss` takes them."""

    def step(network: CamNetwork, images: Tensor, tags: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return classification_loss(network(images), tags, None if weights is None else weights.to(tags.device)), {}

    return step


def train_cls(config: TrainClsConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Train the classifier whose weights make class activation maps; writes RUN/weights.safetensors.

    Raises `UsageError` for photos, labels or settings that cannot work, `WeightsError` for backbone
    weights that do not fit, `TrainingDiverged` when the loss stops being a number.
    """
    reporter = reporter or SilentReporter()
    split = gather(config)
    closed = config.fit == CLOSED
    config = settled(config, split.training)
    balanced = config.class_weights == "balanced"
    loss = bce_step(balanced_weights(torch.from_numpy(tag_matrix(split.training))) if balanced else None)
    shape: dict[str, Any] = {
        "backbone": config.backbone,
        "style": config.backbone_style,
        "output_stride": config.output_stride,
    }
    with torch.device("meta"):
        config = replace(config, freeze=make_backbone(**shape).freeze_point(config.freeze))
    start: dict[str, Any] = {"backbone": config.backbone}
    if config.backbone_weights is None:
        start["file"] = spec_of(config.backbone).pretrained
    elif config.backbone_weights.is_file():
        start |= file_facts(config.backbone_weights)
    else:
        raise WeightsError(f"{config.backbone_weights}: no such weights file")

    def build() -> Learner:
        backbone = new_backbone(**shape, weights=config.backbone_weights)
        network = CamNetwork(len(split.training.classes), **shape)  # drawn second: a seed draws what it always drew
        network.backbone = backbone
        backbone.freeze(config.freeze)
        if closed:
            network.add_reclassifier()
        groups = [Group(list(backbone.parameters()), config.lr), Group([network.classifier.weight], config.head_rate)]
        return Learner(network, groups, loss, dict(shape))

    method, trainer = ("recam", Fitter) if closed else ("cam", Trainer)
    prepare = from_closed_form if config.start == CLOSED and not closed else None
    recipe = Recipe(command="train-cls", method=method, source=start, build=build, trainer=trainer, prepare=prepare)
    return run_training(config, split, recipe, reporter)
