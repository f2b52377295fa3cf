"""`calibrate`: heads whose prototype maps agree with the classifier's refined map (docs/methods-cpmc.md).

Evidence. The abstract says nothing of training. Related published work: heads on detached stages, and the mean
absolute difference of the two maps beside the classification loss (SIPE, Chen et al., CVPR 2022; with the
refined map as the target, SFC, Zhao et al., AAAI 2024). Ours: that the prototype side is the calibrated map of
S5, that only the photo's own classes and the background count, and the frozen backbone.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from pseudomask.config import CalibrateConfig, WeightRule
from pseudomask.maps import card_rule
from pseudomask.maps.cams import training_cam
from pseudomask.maps.cams.variant import WeightedCam
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.cpmc.method import attention_of, classifier_maps, context_of, hierarchical
from pseudomask.maps.cpmc.prototypes import background_of
from pseudomask.maps.cpmc.stages import run_stages
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.training.learner import Group, Learner, LossFunction
from pseudomask.training.losses import PLAIN, classification_loss, positive_index
from pseudomask.training.recipe import Recipe
from pseudomask.training.result import TrainingResult
from pseudomask.training.session import continued, file_facts, run_training


def consistency_loss(target: Tensor, found: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute difference of two sets of maps, over the photo's classes, the background and the positions.

    Args:
        target, found: (B, N, h, w) in [0, 1], 0 in unused places; their background is 1 − the largest class.
        valid: (B, N) bool.

    Returns:
        scalar; the mean over photos.
    """
    classes = (target - found).abs().mean((2, 3)) * valid  # (B, N)
    background = (background_of(target) - background_of(found)).abs().mean((1, 2, 3))  # (B,)
    return ((classes.sum(1) + background) / (valid.sum(1) + 1)).mean()


def calibration_step(settings: CpmcSettings, rule: WeightRule, weight: float, cam: WeightedCam = PLAIN) -> LossFunction:
    """BCE + α · the difference of Aᵀ and M; both maps get gradients, the stages get none from the heads."""

    attention = Cpmc(settings).attention

    def step(network: CamNetwork, images: Tensor, tags: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        assert network.side_heads is not None
        seen = network.backbone(images, attention=attention)
        bce = classification_loss(network.logits(seen), tags)
        index, valid = positive_index(tags)  # (B, N)
        context = context_of(seen)
        maps = classifier_maps(cam, network, seen, context, network.map_weights(rule), index, valid)
        features = hierarchical(seen.detach(), network.side_heads)
        found = run_stages(maps, context.detach(), features, valid, settings, attention_of(seen))
        difference = consistency_loss(found.refined, found.calibrated, valid)
        return bce + weight * difference, {"bce": bce, "difference": difference}

    return step


def calibrate(config: CalibrateConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Train CPMC's heads on the weights of `train-cls` or `reactivate`; writes RUN/weights.safetensors.

    Raises `UsageError`, `WeightsError` and `TrainingDiverged` as `train_cls` does.
    """
    reporter = reporter or SilentReporter()
    settings = replace(CpmcSettings.of(config), features="heads", output="calibrated", gamma=0.0)
    config, weights, card, split = continued(config, "calibrate")
    cam = training_cam(config, card)

    def build() -> Learner:
        network, _ = load_network(weights)
        rule = Cpmc(settings, card_rule(card)).rule(network)
        network.map_weights(rule)
        network.add_side_heads()
        assert network.side_heads is not None
        network.backbone.freeze(config.freeze)
        first = [*network.backbone.parameters(), network.classifier.weight]
        second = [] if network.reclassifier is None else [network.reclassifier.weight]
        heads = Group(list(network.side_heads.parameters()), config.head_rate)
        facts = card.network | {"weight_rule": card.weight_rule}
        # With all of it frozen, the classifiers' maps, and so their thresholds, hardly change at so small a --lr.
        if network.backbone.frozen == network.backbone.parts:
            facts["thresholds"] = {k: v for k, v in card.thresholds.items() if k != "cpmc"}
        loss = calibration_step(settings, rule, config.consistency, cam)
        return Learner(network, [Group([*first, *second], config.lr), heads], loss, facts)

    recipe = Recipe(command="calibrate", method="cpmc", source=file_facts(weights), build=build, base_card=card)
    return run_training(config, split, recipe, reporter)
