"""`train-cls`: the multi-label classifier (step 1 of ReCAM's public code, as in IRN and PSA)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pseudomask.config import TrainClsConfig
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.timm_zoo import FREE
from pseudomask.networks.card import CLOSED
from pseudomask.networks.network import CamNetwork
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.training.fitter import Fitter
from pseudomask.training.initial import choose_start
from pseudomask.training.learner import Group, Learner, LossFunction
from pseudomask.training.losses import balanced_weights, classification_loss
from pseudomask.training.recipe import Recipe
from pseudomask.training.result import TrainingResult
from pseudomask.training.session import run_training
from pseudomask.training.split import gather, tag_matrix
from pseudomask.training.start import from_closed_form, settled
from pseudomask.training.trainer import Trainer


def bce_step(weights: Tensor | None = None) -> LossFunction:
    """Binary cross-entropy of the pooled logits; `weights` as `classification_loss` takes them."""

    def step(network: CamNetwork, images: Tensor, tags: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return classification_loss(network(images), tags, None if weights is None else weights.to(tags.device)), {}

    return step


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
    config = settled(config, split.training)
    balanced = config.class_weights == "balanced"
    loss = bce_step(balanced_weights(torch.from_numpy(tag_matrix(split.training))) if balanced else None)
    start = choose_start(config)
    sketch = start.sketch
    freeze = sketch.freeze_point(config.freeze)
    config = replace(config, freeze=freeze, backbone_style=sketch.style, output_stride=sketch.output_stride)
    tell_facts(sketch, ranks().once(reporter))

    def build() -> Learner:
        backbone = start.build()
        # drawn after the backbone, so that a seed draws what it always drew
        network = CamNetwork(len(split.training.classes), **start.shape)
        network.backbone = backbone
        backbone.freeze(config.freeze)
        if closed:
            network.add_reclassifier()
        groups = [Group(list(backbone.parameters()), config.lr), Group([network.classifier.weight], config.head_rate)]
        return Learner(network, groups, loss, start.shape)

    method, trainer = ("recam", Fitter) if closed else ("cam", Trainer)
    recipe = Recipe(
        command="train-cls",
        method=method,
        source=start.facts(),
        build=build,
        trainer=trainer,
        prepare=from_closed_form if config.start == CLOSED and not closed else None,
    )
    return run_training(config, split, recipe, reporter)
