"""What train-cls and reactivate do before and after the loop: photos, record, weights with their card."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import numpy as np
import torch

from pseudomask._version import __version__
from pseudomask.config import TrainAffinityConfig, TrainingOptions
from pseudomask.config.roles import deciding, defaults
from pseudomask.data.collection import Collection, align_tags, collect, need_tags, tell_labels, tell_passed_over
from pseudomask.data.images import ImageItem, read_list, select
from pseudomask.data.reading import Reading
from pseudomask.data.survey import recorded_config, settle
from pseudomask.data.teachable import Finding, examine
from pseudomask.devices import pick_device
from pseudomask.errors import UsageError
from pseudomask.networks.card import AFFINITY, Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.running.atomic import sweep_leftovers
from pseudomask.running.holder import holding
from pseudomask.running.jsonable import jsonable
from pseudomask.running.ranks import ranks
from pseudomask.running.record import Own, RunRecord, check_resume, package_versions, peak_memory
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
        findings: what the tags leave no way to learn.
        doubts: what speaks against the weights, one line each.
    """

    weights: Path | None
    facts: dict[str, Any]
    understood: list[tuple[str, str]] = field(default_factory=list)
    exit_code: int = 0
    findings: Sequence[Finding] = ()
    doubts: Sequence[str] = ()

    def summary(self) -> list[tuple[str, str]]:
        if self.understood:
            return self.understood
        facts = {name: value for name, value in self.facts.items() if value not in (None, "")}
        texts = {name: _TEXTS.get(name, f"{{{name}}}").format_map(facts) for name in facts}
        return [(_LABELS.get(name, name.replace("_", " ")), text) for name, text in texts.items() if text]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable({"schema": 1, **self.facts, "weights": self.weights})
        plain["tag_problems"] = [finding.to_json() for finding in self.findings]
        plain["doubts"] = list(self.doubts)
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
            need_tags(tagged.subset([i for i in tagged.items if i.key not in held])),
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


def _photos(collection: Collection, reading: Reading) -> TaggedPhotos:
    return TaggedPhotos([item.path for item in collection.items], _tag_matrix(collection), reading)


def _tag_matrix(collection: Collection) -> np.ndarray:
    """float32 (photos, classes) of 0 and 1."""
    tags = collection.tags or {}
    rows = [one_hot(tags[item.key], len(collection.classes)) for item in collection.items]
    return np.stack(rows) if rows else np.zeros((0, len(collection.classes)), np.float32)


def describe(split: Split, reporter: Reporter) -> dict[str, Any]:
    """Tell what was understood, with warnings for what was not."""
    training = split.training
    reporter.info(
        f"{len(training.items)} photos to train on, {len(split.held_out.items)} held out, "
        f"{len(training.classes)} classes, tags from {training.labels}"
    )
    tell_passed_over(training, reporter)
    tell_labels(training, reporter, "they are not used for training")
    return {
        "photos": len(training.items),
        "held_out": len(split.held_out.items),
        "classes": len(training.classes),
        "passed_over": ", ".join(map(str, training.passed_over)),
    }


def find_problems(split: Split, method: str) -> list[Finding]:
    """What the tags leave no way to learn. Boundaries (`affinity`) are learned from masks: only rarity counts there."""
    found = examine(_tag_matrix(split.training), split.training.classes, _tag_matrix(split.held_out))
    return [one for one in found if method != AFFINITY or one.kind in ("absent", "few")]


_Words = ParamSpec("_Words")


def _letting_go(
    train: Callable[Concatenate[ExitStack, _Words], TrainingResult],
) -> Callable[_Words, TrainingResult]:
    """Pass an ExitStack for what must be released at the end, whether by success or error."""

    @wraps(train)
    def wrapped(*words: _Words.args, **more: _Words.kwargs) -> TrainingResult:
        with ExitStack() as held:
            return train(held, *words, **more)

    return wrapped


@_letting_go
def run_training(
    held: ExitStack,
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
    crops: Callable[..., Crops] | None = None,
    mean_of_photos: bool = True,
    reading: Reading | None = None,
    earlier: Mapping[str, str] | None = None,
) -> TrainingResult:
    """Record, train (or resume), validate and write RUN/weights.safetensors.

    Of several processes (`ranks`) only the first writes and measures; all return when the weights are there.

    Args:
        method: `cam`, `recam`, `cpmc` or `affinity`, for the card.
        source: what the network starts from, for record and card; part of the resume check.
        build: makes the network, its parameter groups and its loss; its last value is the card's network part.
        prepare: what is done in RUN before the first step; `crops`: makes what is trained on instead of
            photos and tags, given the colour `around` them.
        base_card: card of the weights that training goes on from.
        reading: how photos are read, where `options` has what was found of it.
        mean_of_photos: the loss is a mean over photos; else it sees to the other processes itself.
        earlier: as `check_resume` takes it.
    """
    job = ranks()
    told = job.once(reporter)
    options = replace(options, overwrite=job.anew(options.overwrite))
    facts = describe(split, told)
    findings = find_problems(split, method)
    for finding in findings:
        told.warn(finding.text)
    training_sides(options)
    if reading is None:
        before = None if options.overwrite else recorded_config(options.run)
        options, reading = settle(options, split.training.items, told, recorded=before)
    device = pick_device(options.device)
    record = _new_record(options, split, command, source)
    record.protocol = {"tag_problems": [finding.to_json() for finding in findings]}
    _check_record(options, record, earlier)
    own = Own(
        options.run / RECORD, record, _compared(options), {"defaults": defaults(type(options)), "earlier": earlier}
    )
    if options.dry_run:
        understood = [
            *split.training.describe(),
            ("held out", f"{len(split.held_out.items)} photos"),
            ("starts from", ", ".join(str(value) for value in source.values())),
            ("device", str(device)),
            ("output", f"{options.run}; nothing was written"),
        ]
        return TrainingResult(None, facts, understood, findings=findings)
    torch.manual_seed(options.seed)
    network, groups, loss, network_facts = build()
    with graceful() as stop, group(job, device):
        trainer = Trainer(
            network,
            groups,
            loss,
            options,
            classes=split.training.classes,
            photos=_photos(split.training, reading),
            held_out=_photos(split.held_out, reading),
            reporter=reporter,
            stop=stop,
            crops=crops,
            mean_of_photos=mean_of_photos,
        )
        record.device = str(trainer.device)
        if job.first:
            held.enter_context(holding(options.run))
            _check_record(options, record, earlier)  # since the first look another run may have begun
            _open_folder(options, record)
            trainer.before_saving = own.check
        job.wait(stop)
        if prepare is not None:
            prepare(stop)
            if agree(0, stop, job, device)[1]:
                told.warn("stopped before the first step; run the same command again to resume")
                return TrainingResult(None, facts, exit_code=stop.exit_code, findings=findings)
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
            own.check()
            record.write(options.run / RECORD)
        told.warn(f"stopped at step {trained.steps}; run the same command again to resume")
        return TrainingResult(None, facts, exit_code=stop.exit_code, findings=findings)
    doubts = [*trained.doubts, *_unseen(split.training, trained.lost)]
    for doubt in doubts:
        told.warn(doubt)
    record.protocol["doubts"] = doubts
    target = options.run / WEIGHTS
    if job.first:
        card = _card(options, split, method, source, network_facts, base_card, trained)
        dtype = torch.float16 if options.weights_dtype == "fp16" else torch.float32
        own.check()
        save_network(target, network, card, dtype)
        record.write(options.run / RECORD)
    job.wait()
    if trained.validation:
        facts |= {
            "held_out_loss": round(trained.validation.loss, 4),
            "held_out_precision": round(trained.validation.mean_precision, 3),
            "held_out_classes": len(trained.validation.precision),
        }
    return TrainingResult(target, facts | {"weights": str(target)}, findings=findings, doubts=doubts)


def _unseen(training: Collection, lost: frozenset[int]) -> list[str]:
    """Classes of which no photo could be read."""
    readable = training.subset([item for i, item in enumerate(training.items) if i not in lost])
    before, after = training.tag_counts(), readable.tag_counts()
    names = [name for name, n in before.items() if n and not after[name]]
    some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return [f"nothing was learned about {some}: none of its photos could be read"] if names else []


def _new_record(options: AnyOptions, split: Split, command: str, source: dict[str, Any]) -> RunRecord:
    return RunRecord(
        command=command,
        config=jsonable(options),
        classes=split.training.classes,
        seed=options.seed,
        weights=source,
        images_hash=split.training.images_hash,
        labels_hash=split.training.labels_hash,
    )


def _compared(options: AnyOptions) -> list[str]:
    return [*_COMPARED, *(f"config.{name}" for name in deciding(type(options), roles=("result", "machine")))]


def _check_record(options: AnyOptions, record: RunRecord, earlier: Mapping[str, str] | None) -> None:
    """Compare this run's record with the one in RUN: only the same training may go on there."""
    old = None if options.overwrite else RunRecord.read(options.run / RECORD)
    if old is not None:
        usual = defaults(type(options))
        check_resume(old, record, _compared(options), where=options.run, defaults=usual, earlier=earlier)
        record.timings = dict(old.timings)
    elif not options.overwrite and ((options.run / WEIGHTS).exists() or (options.run / CHECKPOINT).exists()):
        raise UsageError(f"{options.run} holds weights but no {RECORD}; add --overwrite or choose another folder")


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
