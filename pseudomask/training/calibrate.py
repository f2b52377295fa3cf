"""`calibrate`: heads whose prototype maps are right where the classifier's refined map errs (docs/methods-cpmc.md, S7).

Evidence. The abstract says nothing of training. Related published work: heads on detached stages (SIPE, Chen et al.,
CVPR 2022; SFC, Zhao et al., AAAI 2024); confident pixels of refined seeds as labels (IRN, Ahn et al., CVPR 2019).
Ours: the loss (`regions_loss`), taken of the very map that is cut at the threshold, and the frozen classifier.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from pseudomask.config import CalibrateConfig, WeightRule
from pseudomask.maps import card_rule
from pseudomask.maps.cams import training_cam
from pseudomask.maps.cams.variant import WeightedCam
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.cpmc.method import attention_of, classifier_maps, context_of, hierarchical
from pseudomask.maps.cpmc.stages import run_stages
from pseudomask.maps.placing import block_of
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.training.learner import Group, Learner, LossFunction
from pseudomask.training.losses import PLAIN, positive_index
from pseudomask.training.recipe import Recipe
from pseudomask.training.regions_loss import LEVEL, region_loss, region_weights, tags_of, to_places
from pseudomask.training.result import TrainingResult
from pseudomask.training.session import continued, file_facts, run_training
from pseudomask.training.teaching import labels_for


def calibration_step(
    settings: CpmcSettings, rule: WeightRule, cam: WeightedCam = PLAIN, *, missing: float = 1.0, noise: float = 1.0
) -> LossFunction:
    """The loss of the heads' calibrated maps against confident labels; only unfrozen stages get gradients beside them.

    Args:
        missing, noise: weights of false negatives and false positives (`region_weights`).
    """

    attention = Cpmc(settings).attention

    def step(network: CamNetwork, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        assert network.side_heads is not None
        index, valid = positive_index(tags_of(labels, len(network.classifier.weight)))  # (B, N)
        seen = network.backbone(images, attention=attention)  # frozen parts have no gradient
        with torch.no_grad():
            context = context_of(seen)
            maps = classifier_maps(cam, network, seen, context, network.map_weights(rule), index, valid)
        found = run_stages(
            maps, context, hierarchical(seen, network.side_heads), valid, settings, attention_of(seen.detach())
        )
        size = (maps.shape[-2], maps.shape[-1])
        wanted = to_places(labels, index, valid, size, block_of(size, seen))
        weights = region_weights(found.refined, wanted, missing=missing, noise=noise)
        loss = region_loss(found.calibrated, wanted, weights, valid)
        known = wanted >= 0
        agreed = (found.refined.amax(1) > LEVEL) == (wanted > 0)
        return loss, {"agreed": (agreed & known).sum() / known.sum().clamp(min=1)}

    return step


def calibrate(config: CalibrateConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Train CPMC's heads on the weights of `train-cls` or `reactivate`; writes RUN/weights.safetensors.

    Raises `UsageError`, `WeightsError` and `TrainingDiverged` as `train_cls` does.
    """
    reporter = reporter or SilentReporter()
    settings = replace(CpmcSettings.of(config), features="heads", output="calibrated", gamma=0.0)
    config, weights, card, split = continued(config, "calibrate")
    cam = training_cam(config, card)
    method = Cpmc(settings, card_rule(card))
    rule = method.rule(loaded := load_network(weights)[0])
    loaded.map_weights(rule)  # raises before seeds are made
    loaded.backbone.freeze(config.freeze)
    frozen = loaded.backbone.frozen == loaded.backbone.parts
    labels = labels_for(config, weights, card, split.training, reporter)
    if isinstance(labels, TrainingResult):
        return labels

    def build() -> Learner:
        network, _ = load_network(weights)
        network.add_side_heads()
        assert network.side_heads is not None
        network.backbone.freeze(config.freeze)
        facts = card.network | {"weight_rule": card.weight_rule}
        if frozen:  # the classifiers' maps, and so their thresholds, stay
            facts["thresholds"] = {k: v for k, v in card.thresholds.items() if k != "cpmc"}
        loss = calibration_step(settings, rule, cam, missing=config.fn_weight, noise=config.fp_weight)
        heads = Group(list(network.side_heads.parameters()), config.head_rate)
        return Learner(network, [Group(list(network.backbone.parameters()), config.lr), heads], loss, facts)

    recipe = Recipe(
        command="calibrate",
        method="cpmc",
        source=file_facts(weights) | labels.source,
        build=build,
        base_card=card,
        same_classifier=frozen,
        prepare=partial(labels.make, reporter=reporter),
        crops=labels.crops,
    )
    return run_training(labels.config, replace(split, reading=labels.reading), recipe, reporter)
