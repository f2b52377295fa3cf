"""What the training verbs do around the loop: photos, record, weights with their card."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from pseudomask.config import CalibrateConfig, ReactivateConfig
from pseudomask.config.roles import deciding, defaults
from pseudomask.data.reading import Reading
from pseudomask.data.survey import recorded_config, settle
from pseudomask.data.teachable import Finding
from pseudomask.devices import pick_device, pick_workers
from pseudomask.errors import UsageError
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import read_card, sketch
from pseudomask.quoting import count
from pseudomask.running.atomic import sweep_leftovers
from pseudomask.running.holder import holding
from pseudomask.running.jsonable import jsonable
from pseudomask.running.own import Own
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, check_resume, hash_file, peak_memory
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import graceful
from pseudomask.training.learner import Learner
from pseudomask.training.recipe import Recipe, save_weights
from pseudomask.training.result import TrainingResult
from pseudomask.training.samples import Crops, TrainingCrops
from pseudomask.training.schedule import changed_schedule, check_start, schedules
from pseudomask.training.split import Split, describe, find_problems, gather, paths, tag_matrix, untaught
from pseudomask.training.state import CHECKPOINT, LATEST, LOG, PREVIOUS, steps_done
from pseudomask.training.team import agree, group
from pseudomask.training.trainer import AnyOptions, Measure
from pseudomask.training.validation import validate
from pseudomask.verbs import WEIGHTS

RECORD = "run.json"
_SOURCE = ("weights.sha256", "weights.seeds_hash", "weights.masks_hash")
_COMPARED = ("command", "classes", *_SOURCE, "images_hash", "labels_hash")

Continued = TypeVar("Continued", ReactivateConfig, CalibrateConfig)


def continued(config: Continued, verb: str) -> tuple[Continued, Path, Card, Split]:
    """For a verb that trains a classifier further: its settings, the weights, their card, and the photos.

    Raises `UsageError` where no weights are given, or there is no part of the backbone that `freeze` names.
    """
    if config.weights is None:
        raise UsageError(f"{verb} needs a trained classifier; give --weights RUN/weights.safetensors from train-cls")
    weights, card = config.weights, read_card(config.weights)
    backbone = sketch(card, str(weights), lambda: make_backbone(**card.network))
    config = replace(config, freeze=backbone.freeze_point(config.freeze))
    return config, weights, card, gather(config, card.classes)


def file_facts(weights: Path) -> dict[str, Any]:
    """Which file a training starts from, for its record."""
    return {"file": weights.name, "sha256": hash_file(weights)}


def run_training(options: AnyOptions, split: Split, recipe: Recipe, reporter: Reporter) -> TrainingResult:
    """Record, train (or resume), validate and write RUN/weights.safetensors.

    Of several processes (`ranks`) only the first writes and measures; all return when the weights are there.
    """
    team = ranks()
    lead = team.once(reporter)
    options = replace(options, overwrite=team.anew(options.overwrite))
    result = TrainingResult(None, describe(split, lead), findings=find_problems(split, recipe.method))
    for finding in result.findings:
        lead.warn(finding.text)
    _ = options.sides  # refused before photos are looked at
    reading = split.reading
    if reading is None:
        before = None if options.overwrite else recorded_config(options.run)
        options, reading = settle(options, split.training.items, lead, recorded=before)
    device = pick_device(options.device)
    record = _new_record(options, split, recipe, result.findings, str(device))
    _check_record(options, record, recipe)
    per_epoch = max(len(split.training.items) // options.batch_size, 1)
    _check_schedule(options, record, per_epoch, lead)
    if options.dry_run:
        return replace(result, understood=_understood(options, split, recipe, str(device)))
    torch.manual_seed(options.seed)
    learner = recipe.build()
    rules = {"defaults": defaults(type(options)), "earlier": recipe.earlier}
    own = Own(options.run / RECORD, record, _compared(options), rules)
    with ExitStack() as held:
        with graceful() as stop, group(team, device):
            trainer = recipe.trainer(
                learner,
                options,
                device=device,
                crops=_crops(options, split, recipe, reading, learner),
                measure=_measure(options, split, recipe, reading),
                reporter=reporter,
                stop=stop,
                mean_of_photos=recipe.mean_of_photos,
            )
            if team.first:
                held.enter_context(holding(options.run))
                _check_record(options, record, recipe)  # since the first look another run may have begun
                _open_folder(options, record)
                trainer.before_saving = own.check
                trainer.after_epoch = partial(
                    save_weights, options, split, recipe, learner, record, options.run / LATEST
                )
            team.wait(stop)
            if recipe.prepare is not None:
                recipe.prepare(stop)
                if agree(0, stop, team, device)[1]:
                    lead.warn("stopped before the first step; run the same command again to resume")
                    return replace(result, exit_code=stop.exit_code)
            lead.info(f"training on {device}, {'float32' if trainer.amp is None else trainer.amp}")
            started = time.monotonic()
            trained = trainer.train()
        record.timings["training"] = round(record.timings.get("training", 0.0) + time.monotonic() - started, 1)
        record.peak_memory = peak_memory()
        result = replace(result, facts=result.facts | trained.facts())
        if not trained.finished:
            if team.first:
                own.check()
                record.write(options.run / RECORD)
            lead.warn(
                f"stopped at step {trained.steps}; run the same command again to resume, or with --finish to end the "
                "training here and get its weights"
            )
            return replace(result, exit_code=stop.exit_code)
        doubts = [*trained.doubts, *untaught(split.training, trained.lost)]
        for doubt in doubts:
            lead.warn(doubt)
        record.protocol["doubts"] = doubts
        target = options.run / WEIGHTS
        if team.first:
            own.check()
            save_weights(options, split, recipe, learner, record, target, trained.steps, trained.validation)
            record.write(options.run / RECORD)
            (options.run / LATEST).unlink(missing_ok=True)
        team.wait()
    facts = result.facts | trained.measured() | {"weights": str(target)}
    return replace(result, weights=target, facts=facts, doubts=doubts)


def _understood(options: AnyOptions, split: Split, recipe: Recipe, device: str) -> list[tuple[str, str]]:
    return [
        *split.training.describe(),
        ("held out", count(len(split.held_out.items), "photo")),
        ("starts from", ", ".join(str(value) for value in recipe.source.values())),
        ("device", device),
        ("output", f"{options.run}; nothing was written"),
    ]


def _crops(options: AnyOptions, split: Split, recipe: Recipe, reading: Reading, learner: Learner) -> Crops:
    make = recipe.crops or partial(TrainingCrops, paths(split.training), tag_matrix(split.training))
    around = learner.network.backbone.normalisation.mean_level
    return make(crop=options.crop, sides=options.sides, seed=options.seed, reading=reading, around=around)


def _measure(options: AnyOptions, split: Split, recipe: Recipe, reading: Reading) -> Measure | None:
    held = split.held_out
    if not held.items:
        return None
    measure = recipe.measure or partial(validate, tags=tag_matrix(held), classes=split.training.classes)
    return partial(measure, paths=paths(held), workers=pick_workers(options.workers), reading=reading)


def _new_record(
    options: AnyOptions, split: Split, recipe: Recipe, findings: Sequence[Finding], device: str
) -> RunRecord:
    return RunRecord(
        command=recipe.command,
        config=jsonable(options),
        classes=split.training.classes,
        device=device,
        seed=options.seed,
        weights=recipe.source,
        images_hash=split.training.images_hash,
        labels_hash=split.training.labels_hash,
        protocol={"tag_problems": [finding.to_json() for finding in findings]},
    )


def _compared(options: AnyOptions) -> list[str]:
    return [*_COMPARED, *(f"config.{name}" for name in deciding(type(options), roles=("result", "machine")))]


def _check_record(options: AnyOptions, record: RunRecord, recipe: Recipe) -> None:
    """Compare this run's record with the one in RUN: only the same training may resume there."""
    old = None if options.overwrite else RunRecord.read(options.run / RECORD)
    if old is not None:
        usual = defaults(type(options))
        fields = _compared(options)
        if not (options.run / WEIGHTS).exists():
            fields.remove("config.epochs")  # of a training that is not finished yet they may change
        check_resume(old, record, fields, where=options.run, defaults=usual, earlier=recipe.earlier)
        record.timings = dict(old.timings)
        told = {"protocol": old.protocol, "config": usual | old.config}
        if changes := schedules(told, options.epochs, steps_done(options.run)):
            record.protocol["schedules"] = changes
    elif not options.overwrite and ((options.run / WEIGHTS).exists() or (options.run / CHECKPOINT).exists()):
        raise UsageError(f"{options.run} holds weights but no {RECORD}; add --overwrite or choose another folder")


def _check_schedule(options: AnyOptions, record: RunRecord, per_epoch: int, reporter: Reporter) -> None:
    """Check that the training can resume or be finished with these epochs; report what a change of them means."""
    done = 0 if options.overwrite else steps_done(options.run)
    check_start(options.run, done, options.epochs * per_epoch, options)
    old = None if options.overwrite else RunRecord.read(options.run / RECORD)
    before = options.epochs if old is None else old.config.get("epochs", options.epochs)
    if before != options.epochs and done and not options.finish:
        reporter.info(changed_schedule(before, options, done, per_epoch))


def _open_folder(options: AnyOptions, record: RunRecord) -> None:
    """The first writing of a run: nothing that it was asked for can be wrong any more."""
    if options.overwrite:
        for name in (WEIGHTS, LATEST, CHECKPOINT, PREVIOUS, LOG):
            (options.run / name).unlink(missing_ok=True)
    record.write(options.run / RECORD)
    sweep_leftovers(options.run)
