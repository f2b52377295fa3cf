"""What distinguishes the training verbs, and the card of the weights that they write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pseudomask._version import __version__
from pseudomask.errors import TrainingDiverged
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.running.record import RunRecord, package_versions
from pseudomask.running.signals import Stop
from pseudomask.training.base import AnyOptions, BaseTrainer, Measure
from pseudomask.training.learner import Learner
from pseudomask.training.measured import Measured
from pseudomask.training.samples import Crops
from pseudomask.training.split import Split
from pseudomask.training.state import LATEST
from pseudomask.training.trainer import Trainer

_ON_CARD = (
    *("epochs", "batch_size", "crop", "lr", "lr_head", "momentum", "weight_decay", "freeze", "amp", "seed"),
    *("contrast", "fit", "start", "class_weights", "patience", "network", "ignore_margin"),
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What makes one training verb.

    Attributes:
        command: the verb.
        method: `cam`, `recam`, `cpmc` or `affinity`, for the card.
        source: what the network starts from, for record and card; part of the resume check.
        build: returns the network and loss to train.
        base_card: card of the initial weights.
        same_classifier: whether the tags' classifier stays that of the initial weights, and so what their card says of
            it: it may have been trained on photos that are held out now.
        prepare: called in each process before the first step, to prepare RUN or the network.
        crops: makes the training samples, given how photos are read and the colour `around` them; by default crops
            with tags.
        measure: measures the network on held-out photos, as `validate` does; by default `validate` on their tags.
        trainer: the class that trains.
        earlier: as `check_resume` takes it.
    """

    command: str
    method: str
    source: dict[str, Any]
    build: Callable[[], Learner]
    base_card: Card | None = None
    same_classifier: bool = False
    prepare: Callable[[BaseTrainer, Stop], None] | None = None
    crops: Callable[..., Crops] | None = None
    measure: Measure | None = None
    trainer: type[BaseTrainer] = Trainer
    earlier: dict[str, Any] = field(default_factory=dict)


def card_of(
    options: AnyOptions,
    split: Split,
    recipe: Recipe,
    network: dict[str, Any],
    validation: Measured | None,
    schedule: dict[str, Any],
) -> Card:
    """The card of the weights that a training wrote.

    Args:
        network: facts about the network.
        schedule: the steps done, if fewer than planned, and earlier plans.
    """
    base = recipe.base_card
    history = [*base.training.get("history", []), _without_history(base)] if base else []
    known = base if recipe.same_classifier and base and base.measured else None
    tag_thresholds = validation.tag_thresholds if validation else (0.5,) * len(split.training.classes)
    measured = validation.on_card(split.held_out.tag_counts()) if validation else []
    return Card(
        classes=split.training.classes,
        method=recipe.method,
        **network,
        tag_thresholds=known.tag_thresholds if known else tag_thresholds,
        training={
            "data": options.data_name or ("" if options.images is None else options.images.name),
            "photos": len(split.training.items),
            "photos_per_class": split.training.tag_counts(),
            "starts_from": recipe.source,
            **_settings(options),
            **schedule,
            **({"history": history} if history else {}),
        },
        measured=known.measured if known else measured,
        license=options.license,
        versions={"pseudomask": __version__, **package_versions()},
    )


def save_weights(
    options: AnyOptions,
    split: Split,
    recipe: Recipe,
    learner: Learner,
    record: RunRecord,
    path: Path,
    steps: int,
    validation: Measured | None,
) -> None:
    """Write weights with their card, at the end of the training or after one of its epochs."""
    planned = options.epochs * max(len(split.training.items) // options.batch_size, 1)
    schedule = {"schedules": record.protocol["schedules"]} if "schedules" in record.protocol else {}
    if recipe.trainer.stepwise and steps < planned:
        schedule |= {"steps": steps, "steps_planned": planned}
    network = learner.card | {"backbone_facts": learner.network.backbone.facts}
    card = card_of(options, split, recipe, network, validation, schedule)
    dtype = torch.float16 if options.weights_dtype == "fp16" else torch.float32
    try:
        save_network(path, learner.network, card, dtype)
    except TrainingDiverged:
        if path.name != LATEST:  # those of an epoch may not fit the type yet
            raise


def _settings(options: AnyOptions) -> dict[str, Any]:
    """The settings that had an effect; without an optimizer there are few."""
    names = _ON_CARD if getattr(options, "fit", "sgd") == "sgd" else ("fit", "amp", "seed")
    found = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return found if "epochs" not in names else {"long_side": list(options.sides), **found}


def _without_history(card: Card) -> dict[str, Any]:
    return {name: value for name, value in card.training.items() if name != "history"}
