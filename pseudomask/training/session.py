"""What train-cls and reactivate do before and after the loop: photos, record, weights with their card."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pseudomask._version import __version__
from pseudomask.config import TrainAffinityConfig, TrainingOptions
from pseudomask.data.collection import Collection, align_tags, collect, need_tags, tell_labels
from pseudomask.data.images import ImageItem, read_list, select
from pseudomask.devices import pick_device
from pseudomask.errors import UsageError
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.running.atomic import sweep_leftovers
from pseudomask.running.jsonable import jsonable
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, check_resume, package_versions, peak_memory
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop, graceful
from pseudomask.training.loading import Crops
from pseudomask.training.samples import one_hot
from pseudomask.training.state import CHECKPOINT, LOG, PREVIOUS
from pseudomask.training.team import agree, group
from pseudomask.training.trainer import (
    AnyNetwork,
    Group,
    LossFunction,
    TaggedPhotos,
    Trained,
    Trainer,
    training_sides,
)
from pseudomask.verbs import WEIGHTS

AnyOptions = TrainingOptions | TrainAffinityConfig

RECORD = "run.json"
# What may differ between a run and its resumption without changing the result.
_FREE = {"run", "workers", "checkpoint_every", "overwrite", "dry_run"}
# Their contents are compared, not their places.
_PLACES = {"images", "seeds", "labels", "list", "val_list", "class_file", "weights", "backbone_weights"}
# How people read the facts of a training; those without a text of their own stand in that of another.
_TEXTS = {
    "steps": "{steps} of {steps_planned}",
    "steps_planned": "",
    "images_per_second": "{images_per_second} images/s",
    "held_out_precision": "{held_out_precision} (mean over {held_out_classes} classes)",
    "held_out_classes": "",
}
_LABELS = {"images_per_second": "speed"}
_TOLD = ("epochs", "batch_size", "crop", "lr", "lr_head", "momentum", "weight_decay", "freeze", "amp", "seed")
_COMPARED = ("command", "classes", "weights.sha256", "weights.seeds_hash", "images_hash", "labels_hash")


@dataclass(frozen=True)
class Split:
    """The photos to train on and those held out."""

    training: Collection
    held_out: Collection


@dataclass(frozen=True)
class TrainingResult:
    """What a training verb hands back.

    Attributes:
        weights: the file written, or None when the run was stopped early or only described.
        facts: what was trained, how far and how well, by name: photos, held_out, classes; steps of steps_planned and
            images_per_second; unreadable photos; of the held-out ones held_out_loss (cross-entropy) and
            held_out_precision (mean average precision in [0, 1] over held_out_classes classes).
        understood: (label, value) lines instead of the facts, when only a description was asked for.
        exit_code: 0, or 130/143 after a signal.
    """

    weights: Path | None
    facts: dict[str, Any]
    understood: list[tuple[str, str]] = field(default_factory=list)
    exit_code: int = 0

    def summary(self) -> list[tuple[str, str]]:
        if self.understood:
            return self.understood
        facts = {name: value for name, value in self.facts.items() if value not in (None, "")}
        texts = {name: _TEXTS.get(name, f"{{{name}}}").format_map(facts) for name in facts}
        return [(_LABELS.get(name, name.replace("_", " ")), text) for name, text in texts.items() if text]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable({"schema": 1, **self.facts, "weights": self.weights})
        plain["understood"] = [{"what": what, "value": value} for what, value in self.understood]
        return plain


def gather(options: TrainingOptions, classes: tuple[str, ...] | None = None) -> Split:
    """Photos with tags, and the held-out ones: --val-list, else a share drawn with the seed.

    `classes` is the weights' list, when training goes on from weights.
    """
    collection = collect(options.images, options, exclude=options.run)
    if classes is not None:
        collection = align_tags(collection, classes)
    if options.val_list is None:
        tagged = need_tags(collection)
        held = _draw(tagged.items, options.val_fraction, options.seed)
        return Split(
            tagged.subset([i for i in tagged.items if i.key not in held]),
            tagged.subset([i for i in tagged.items if i.key in held]),
        )
    # Held-out photos may lie outside --list, which names those to train on.
    everything = collect(options.images, replace(options, list=None, limit=None), exclude=options.run)
    everything = align_tags(everything, collection.classes)
    held_items = select(everything.items, read_list(options.val_list), source=str(options.val_list))
    held = {item.key for item in held_items}
    tags = everything.tags or {}
    return Split(
        need_tags(collection.subset([i for i in collection.items if i.key not in held])),
        everything.subset([item for item in held_items if item.key in tags]),
    )


def _draw(items: Sequence[ImageItem], fraction: float, seed: int) -> set[str]:
    count = min(round(fraction * len(items)), len(items) - 1)
    order = np.random.default_rng([seed, 0x5E1D]).permutation(len(items))
    return {items[int(i)].key for i in order[:count]}


def _photos(collection: Collection) -> TaggedPhotos:
    tags = collection.tags or {}
    rows = [one_hot(tags[item.key], len(collection.classes)) for item in collection.items]
    return TaggedPhotos(
        [item.path for item in collection.items],
        np.stack(rows) if rows else np.zeros((0, len(collection.classes)), np.float32),
    )


def describe(split: Split, reporter: Reporter) -> dict[str, Any]:
    """Tell what was understood, with warnings for what was not."""
    training = split.training
    counts = training.tag_counts()
    reporter.info(
        f"{len(training.items)} photos to train on, {len(split.held_out.items)} held out, "
        f"{len(training.classes)} classes, tags from {training.labels}"
    )
    tell_labels(training, reporter, "they are left out")
    rare = [name for name, n in counts.items() if n < 20]
    if rare:
        reporter.warn(
            f"{len(rare)} classes have fewer than 20 photos: {', '.join(rare[:8])}{', …' if len(rare) > 8 else ''}"
        )
    return {
        "photos": len(training.items),
        "held_out": len(split.held_out.items),
        "classes": len(training.classes),
    }


def run_training(
    options: AnyOptions,
    split: Split,
    *,
    command: str,
    method: str,
    source: dict[str, Any],
    build: Callable[[], tuple[AnyNetwork, list[Group], LossFunction, dict[str, Any]]],
    base_card: Card | None,
    reporter: Reporter,
    prepare: Callable[[Stop], None] | None = None,
    crops: Crops | None = None,
    mean_of_photos: bool = True,
) -> TrainingResult:
    """Record, train (or resume), validate and write RUN/weights.safetensors.

    Of several processes (`ranks`) only the first writes and measures; all return when the weights are there.

    Args:
        method: `cam`, `recam`, `cpmc` or `affinity`, for the card.
        source: what the network starts from, for record and card; part of the resume check.
        build: makes the network, its parameter groups and its loss; its last value is the card's network part.
        prepare: what is done in RUN before the first step; `crops`: what is trained on instead of photos and tags.
        base_card: card of the weights that training goes on from.
        mean_of_photos: the loss is a mean over photos; else it sees to the other processes itself.
    """
    job = ranks()
    told = job.once(reporter)
    options = replace(options, overwrite=job.anew(options.overwrite))
    facts = describe(split, told)
    training_sides(options)
    device = pick_device(options.device)
    record = _new_record(options, split, command, source)
    if options.dry_run:
        understood = [
            *split.training.describe(),
            ("held out", f"{len(split.held_out.items)} photos"),
            ("starts from", ", ".join(str(value) for value in source.values())),
            ("device", str(device)),
            ("output", f"{options.run}; nothing was written"),
        ]
        return TrainingResult(None, facts, understood)
    torch.manual_seed(options.seed)
    network, groups, loss, network_facts = build()
    with graceful() as stop, group(job, device):
        trainer = Trainer(
            network,
            groups,
            loss,
            options,
            classes=split.training.classes,
            photos=_photos(split.training),
            held_out=_photos(split.held_out),
            reporter=reporter,
            stop=stop,
            crops=crops,
            mean_of_photos=mean_of_photos,
        )
        record.device = str(trainer.device)
        if job.first:
            _open_folder(options, record)
        job.wait(stop)
        if prepare is not None:
            prepare(stop)
            if agree(0, stop, job, device)[1]:
                told.warn("stopped before the first step; the same command goes on from there")
                return TrainingResult(None, facts, exit_code=stop.exit_code)
        told.info(f"training on {trainer.device}, {'float32' if trainer.amp is None else trainer.amp}")
        started = time.monotonic()
        trained = trainer.train()
    facts |= {
        "steps": trained.steps,
        "steps_planned": trained.total,
        "images_per_second": round(trained.images_per_second, 1),
    }
    if trained.unreadable:
        facts["unreadable"] = trained.unreadable
    record.timings["training"] = round(record.timings.get("training", 0.0) + time.monotonic() - started, 1)
    record.peak_memory = peak_memory()
    if not trained.finished:
        if job.first:
            record.write(options.run / RECORD)
        told.warn(f"stopped at step {trained.steps}; the same command goes on from there")
        return TrainingResult(None, facts, exit_code=stop.exit_code)
    target = options.run / WEIGHTS
    if job.first:
        card = _card(options, split, method, source, network_facts, base_card, trained)
        dtype = torch.float16 if options.weights_dtype == "fp16" else torch.float32
        save_network(target, network, card, dtype)
        record.write(options.run / RECORD)
    job.wait()
    if trained.validation:
        facts |= {
            "held_out_loss": round(trained.validation.loss, 4),
            "held_out_precision": round(trained.validation.mean_precision, 3),
            "held_out_classes": len(trained.validation.precision),
        }
    return TrainingResult(target, facts | {"weights": str(target)})


def _new_record(options: AnyOptions, split: Split, command: str, source: dict[str, Any]) -> RunRecord:
    """This run's record, checked against the one in RUN: only the same training may go on there."""
    record = RunRecord(
        command=command,
        config=jsonable(options),
        classes=split.training.classes,
        seed=options.seed,
        weights=source,
        images_hash=split.training.images_hash,
        labels_hash=split.training.labels_hash,
    )
    old = None if options.overwrite else RunRecord.read(options.run / RECORD)
    if old is not None:
        deciding = [f"config.{name}" for name in record.config if name not in _FREE | _PLACES]
        check_resume(old, record, [*_COMPARED, *deciding], where=options.run)
        record.timings = dict(old.timings)
    elif not options.overwrite and ((options.run / WEIGHTS).exists() or (options.run / CHECKPOINT).exists()):
        raise UsageError(f"{options.run} holds weights but no {RECORD}; add --overwrite or choose another folder")
    return record


def _open_folder(options: AnyOptions, record: RunRecord) -> None:
    """The first writing of a run: nothing that it was asked for can be wrong any more."""
    if options.overwrite:
        for name in (WEIGHTS, CHECKPOINT, PREVIOUS, LOG):
            (options.run / name).unlink(missing_ok=True)
    record.write(options.run / RECORD)
    sweep_leftovers(options.run)


def _card(
    options: AnyOptions,
    split: Split,
    method: str,
    source: dict[str, Any],
    network_facts: dict[str, Any],
    base_card: Card | None,
    trained: Trained,
) -> Card:
    validation = trained.validation
    thresholds: tuple[float, ...] = validation.tag_thresholds if validation else (0.5,) * len(split.training.classes)
    low, high = training_sides(options)
    measured = []
    if validation and validation.precision:
        measured.append(
            {
                "what": "mean average precision of the tags",
                "value": round(validation.mean_precision, 4),
                "protocol": f"{len(split.held_out.items)} held-out photos, {len(validation.precision)} classes",
            }
        )
    history = [*(base_card.training.get("history", []) if base_card else [])]
    if base_card:
        history.append({k: v for k, v in base_card.training.items() if k != "history"})
    return Card(
        classes=split.training.classes,
        method=method,
        **network_facts,
        tag_thresholds=thresholds,
        training={
            "data": options.data_name or options.images.name,
            "photos": len(split.training.items),
            "photos_per_class": split.training.tag_counts(),
            "starts_from": source,
            "long_side": [low, high],
            **{name: getattr(options, name) for name in _TOLD if hasattr(options, name)},
            **({"history": history} if history else {}),
        },
        measured=measured,
        license=options.license,
        versions={"pseudomask": __version__, **package_versions()},
    )
