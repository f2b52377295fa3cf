"""`train-cls`: the multi-label classifier (step 1 of ReCAM's public code, as in IRN and PSA)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pseudomask.config import TrainClsConfig
from pseudomask.errors import WeightsError
from pseudomask.networks.backbones import make_backbone, spec_of
from pseudomask.networks.checkpoint import new_backbone
from pseudomask.networks.network import CamNetwork
from pseudomask.running.record import hash_file
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.training.losses import classification_loss
from pseudomask.training.session import TrainingResult, gather, run_training
from pseudomask.training.trainer import Group, LossFunction


def bce_step(network: CamNetwork, images: Tensor, tags: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of the pooled logits."""
    return classification_loss(network(images), tags), {}


def train_cls(config: TrainClsConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Train the classifier whose weights make class activation maps; writes RUN/weights.safetensors.

    Raises `UsageError` for photos, labels or settings that cannot work, `WeightsError` for backbone
    weights that do not fit, `TrainingDiverged` when the loss stops being a number.
    """
    reporter = reporter or SilentReporter()
    split = gather(config)
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
        start |= {"file": config.backbone_weights.name, "sha256": hash_file(config.backbone_weights)}
    else:
        raise WeightsError(f"{config.backbone_weights}: no such weights file")

    def build() -> tuple[CamNetwork, list[Group], LossFunction, dict[str, Any]]:
        backbone = new_backbone(**shape, weights=config.backbone_weights)
        network = CamNetwork(len(split.training.classes), **shape)
        network.backbone = backbone
        backbone.freeze(config.freeze)
        head = config.lr_head if config.lr_head is not None else 10 * config.lr
        groups = [Group(list(backbone.parameters()), config.lr), Group([network.classifier.weight], head)]
        return network, groups, bce_step, shape

    return run_training(
        config,
        split,
        command="train-cls",
        method="cam",
        source=start,
        build=build,
        base_card=None,
        reporter=reporter,
    )
