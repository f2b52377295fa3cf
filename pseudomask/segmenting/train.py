"""`train-seg`: a segmentation network, from masks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.config import TrainSegConfig
from pseudomask.data.survey import inherit
from pseudomask.errors import UsageError
from pseudomask.masks import palette
from pseudomask.networks.card import SEGMENTER
from pseudomask.networks.segmenter import HEADS, Segmenter
from pseudomask.running.layout import check_folders
from pseudomask.running.ranks import ALONE, Ranks, ranks
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.segmenting.crops import IGNORED, MaskCrops
from pseudomask.segmenting.masked import Masked, read_masked
from pseudomask.segmenting.validation import validate_masks
from pseudomask.training.initial import choose_start
from pseudomask.training.learner import Group, Learner, LossFunction
from pseudomask.training.recipe import Recipe
from pseudomask.training.result import TrainingResult
from pseudomask.training.session import run_training
from pseudomask.training.split import paths
from pseudomask.training.team import mean


def pixel_step(team: Ranks = ALONE) -> LossFunction:
    """Mean cross-entropy over the pixels that are not ignored, of all processes; 0 where there are none."""

    def step(network: Segmenter, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        losses = F.cross_entropy(network(images).float(), labels.long(), ignore_index=IGNORED, reduction="none")
        return mean(losses[labels != IGNORED], team), {}

    return step


def train_seg(config: TrainSegConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Train a segmentation network on a folder of masks; writes RUN/weights.safetensors.

    Raises `UsageError` for masks, photos or settings that cannot work, `WeightsError` for backbone weights that do not
    fit, `TrainingDiverged` when the loss stops being a number.
    """
    team = ranks()
    reporter = reporter or SilentReporter()
    lead = team.once(reporter)
    head = config.head
    check_folders(config.masks, config.run, what="masks'")
    start = choose_start(config)
    sketch = start.sketch
    with torch.device("meta"):
        HEADS[head](sketch, 2)  # raises if they do not go together
    freeze = sketch.freeze_point(config.freeze or sketch.parts[1])
    config = replace(config, freeze=freeze, backbone_style=sketch.style)
    masked = read_masked(config, lead)
    if masked.layout.made is not None:
        config = inherit(config, masked.layout.made.config)
    config = replace(config, images=masked.layout.images)
    split, classes = masked.split, masked.layout.classes
    side = round(1.75 * config.crop)

    def build() -> Learner:
        backbone = start.build()
        network = Segmenter(backbone, head, len(classes) + 1)
        backbone.freeze(freeze)
        groups = [
            Group(list(backbone.parameters()), config.lr),
            Group(list(network.head.parameters()), config.head_rate),
        ]
        colours = palette(max(256, len(classes) + 1))[: len(classes) + 1].tolist()
        facts = {"network": config.network, "side": side, "palette": colours}
        return Learner(
            network, groups, pixel_step(team), sketch.card_facts | {"segmenter": facts}, mean_of_photos=False
        )

    recipe = Recipe(
        command="train-seg",
        method=SEGMENTER,
        source=start.facts()
        | {"masks": config.masks.name, "masks_hash": masked.hash}
        | _made_by(masked)
        | _reviewed(masked),
        build=build,
        crops=partial(MaskCrops, paths(split.training), masked.masks(split.training.items), **_margin(config, masked)),
        measure=partial(
            validate_masks,
            masks=masked.masks(split.held_out.items),
            classes=classes,
            side=side,
            of=config.masks.name,
        ),
    )
    return run_training(config, split, recipe, reporter)


def _margin(config: TrainSegConfig, masked: Masked) -> dict[str, Any]:
    """The arguments of `MaskCrops` for --ignore-margin. Raises `UsageError` if there are no scores for it."""
    made, items = masked.layout.made, masked.split.training.items
    classes: dict[str, Any] = {"classes": len(masked.layout.classes)}
    if not config.ignore_margin:
        return classes
    without = made is None or not made.scores.is_dir()
    if made is None or without or made.threshold is None:
        raise UsageError(
            f"--ignore-margin: {config.masks} contains no scores/; give the output folder of extract, or of refine "
            "--scores"
        )
    scores = [made.outputs(item.key).scores for item in items]
    if missing := [item.relative for item, file in zip(items, scores, strict=True) if not file.is_file()]:
        what = f"{len(missing)} photos have no scores in {made.scores}, such as {missing[0]}"
        raise UsageError(f"--ignore-margin: {what}")
    return classes | {"scores": scores, "margin": config.ignore_margin, "threshold": made.threshold}


def _reviewed(masked: Masked) -> dict[str, str]:
    return {"review": masked.reviewed} if masked.reviewed else {}


def _made_by(masked: Masked) -> dict[str, Any]:
    """How the masks were made, for the card."""
    made = masked.layout.made
    if made is None or made.record is None:
        return {}
    method = made.protocol.get("method", "")
    return {"masks_made_by": f"{made.record.command} {method}".strip(), "masks_refined_by": made.refined_by}
