"""What makes one training verb, and the card of the weights that come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pseudomask._version import __version__
from pseudomask.networks.card import Card
from pseudomask.running.record import package_versions
from pseudomask.running.signals import Stop
from pseudomask.training.fitter import Fitter
from pseudomask.training.learner import Learner
from pseudomask.training.samples import Crops
from pseudomask.training.split import Split
from pseudomask.training.trainer import AnyOptions, Trainer
from pseudomask.training.validation import Validation

_ON_CARD = (
    *("epochs", "batch_size", "crop", "lr", "lr_head", "momentum", "weight_decay", "freeze", "amp", "seed"),
    *("contrast", "fit"),
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What makes one training verb.

    Attributes:
        command: the verb.
        method: `cam`, `recam`, `cpmc` or `affinity`, for the card.
        source: what the network starts from, for record and card; part of the resume check.
        build: makes what is trained.
        base_card: card of the weights that training goes on from.
        prepare: what is done in RUN before the first step, by each process.
        crops: makes what is trained on from how photos are read and the colour `around` them; by default photos with
            their tags.
        trainer: what trains; with the interface of a `Trainer`.
        mean_of_photos: the loss is a mean over photos; else it sees to the other processes itself.
        earlier: as `check_resume` takes it.
    """

    command: str
    method: str
    source: dict[str, Any]
    build: Callable[[], Learner]
    base_card: Card | None = None
    prepare: Callable[[Stop], None] | None = None
    crops: Callable[..., Crops] | None = None
    trainer: type[Trainer | Fitter] = Trainer
    mean_of_photos: bool = True
    earlier: Mapping[str, Any] = field(default_factory=dict)


def card_of(
    options: AnyOptions, split: Split, recipe: Recipe, network: dict[str, Any], validation: Validation | None
) -> Card:
    """The card of the weights that a finished training wrote; `network`: its facts about the network."""
    measured, base = list[dict[str, Any]](), recipe.base_card
    if validation and validation.precision:
        measured.append(
            {
                "what": "mean average precision of the tags",
                "value": round(validation.mean_precision, 4),
                "chance": round(validation.mean_chance, 4),
                "protocol": f"{validation.photos} held-out photos, {len(validation.precision)} classes",
                "photos": validation.positive,
                "too_few_to_tell": list(validation.too_few),
            }
        )
    history = [*base.training.get("history", []), _without_history(base)] if base else []
    return Card(
        classes=split.training.classes,
        method=recipe.method,
        **network,
        tag_thresholds=validation.tag_thresholds if validation else (0.5,) * len(split.training.classes),
        training={
            "data": options.data_name or options.images.name,
            "photos": len(split.training.items),
            "photos_per_class": split.training.tag_counts(),
            "starts_from": recipe.source,
            **_settings(options),
            **({"history": history} if history else {}),
        },
        measured=measured,
        license=options.license,
        versions={"pseudomask": __version__, **package_versions()},
    )


def _settings(options: AnyOptions) -> dict[str, Any]:
    """Those that decided something: without an optimizer there are few."""
    names = _ON_CARD if getattr(options, "fit", "sgd") == "sgd" else ("fit", "amp", "seed")
    found = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return found if "epochs" not in names else {"long_side": list(options.sides), **found}


def _without_history(card: Card) -> dict[str, Any]:
    return {name: value for name, value in card.training.items() if name != "history"}
