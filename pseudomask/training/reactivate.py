"""`reactivate`: ReCAM's second classifier (Chen et al., CVPR 2022, §3.2)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pseudomask.config import ReactivateConfig
from pseudomask.data.collection import Collection
from pseudomask.errors import UsageError
from pseudomask.maps.cams import training_cam
from pseudomask.maps.cams.variant import WeightedCam
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.training.learner import Group, Learner, LossFunction
from pseudomask.training.losses import PLAIN, classification_loss, softmax_loss
from pseudomask.training.recipe import Recipe
from pseudomask.training.result import TrainingResult
from pseudomask.training.schedule import epochs_for
from pseudomask.training.session import continued, file_facts, run_training
from pseudomask.training.split import tag_matrix


def recam_step(sce_weight: float, cam: WeightedCam = PLAIN, *, contrast: bool = False) -> LossFunction:
    """BCE + λ·SCE on one forward pass; logs both losses and the softmax accuracy."""

    def step(network: CamNetwork, images: Tensor, tags: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        assert network.reclassifier is not None
        features = network.backbone(images, pyramid=False)
        bce = classification_loss(network.logits(features), tags)
        first, second = network.classifier.weight, network.reclassifier.weight
        sce, accuracy = softmax_loss(features.last, first, second, tags, cam, contrast=contrast)
        return bce + sce_weight * sce, {"bce": bce, "sce": sce, "accuracy": accuracy}

    return step


def settled(config: ReactivateConfig, training: Collection) -> ReactivateConfig:
    """With `contrast` decided, and as many epochs as it needs. `UsageError` if the second classifier would stay random.

    A softmax over classes learns nothing where all photos show the same ones.
    """
    if not config.sce_weight:
        raise UsageError("--sce-weight 0 would leave the second classifier random; give more than 0")
    columns = tag_matrix(training).T
    alike = len({column.tobytes() for column in columns if column.any()}) < 2
    contrast = alike if config.contrast is None else config.contrast
    if not contrast:
        if alike:
            shown = ", ".join(name for name, n in training.tag_counts().items() if n)
            raise UsageError(
                f"there are only photos of {shown}, so that the softmax has nothing to tell apart; leave out "
                "--no-contrast"
            )
        return replace(config, contrast=False)
    epochs = epochs_for(config.min_steps, len(training.items), config.batch_size, least=config.epochs)
    return replace(config, contrast=True, epochs=epochs)


def reactivate(config: ReactivateConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Fine-tune a classifier together with a second, softmax one; writes RUN/weights.safetensors.

    Raises `UsageError`, `WeightsError` and `TrainingDiverged` as `train_cls` does.
    """
    reporter = reporter or SilentReporter()
    config, weights, card, split = continued(config, "reactivate")
    config = settled(config, split.training)
    contrast = bool(config.contrast)
    cam = training_cam(config, card)

    def build() -> Learner:
        network, _ = load_network(weights)
        network.add_reclassifier()
        assert network.reclassifier is not None
        if contrast:  # what is drawn would outweigh what few photos teach
            torch.nn.init.zeros_(network.reclassifier.weight)
        network.backbone.freeze(config.freeze)
        groups = [
            Group([*network.backbone.parameters(), network.classifier.weight], config.lr),
            Group([network.reclassifier.weight], config.head_rate),
        ]
        return Learner(network, groups, recam_step(config.sce_weight, cam, contrast=contrast), card.network)

    source = file_facts(weights) | {"sce_weight": config.sce_weight}
    recipe = Recipe(
        command="reactivate",
        method="recam",
        source=source,
        build=build,
        base_card=card,
        earlier={} if contrast else {"config.contrast": None},
    )
    return run_training(config, split, recipe, reporter)
