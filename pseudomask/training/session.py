"""What all training verbs do before and after training: photos, record, weights with their card."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from pseudomask.config import CalibrateConfig, ReactivateConfig
from pseudomask.config.roles import defaults
from pseudomask.data.reading import Reading
from pseudomask.data.survey import earlier_record, recorded_config, settle
from pseudomask.devices import pick_device, pick_workers
from pseudomask.errors import UsageError
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import read_card, sketch
from pseudomask.quoting import count
from pseudomask.running.atomic import sweep_leftovers
from pseudomask.running.holder import holding
from pseudomask.running.own import Own
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, hash_file, peak_memory
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import graceful
from pseudomask.training.base import AnyOptions, Measure
from pseudomask.training.copies import find_copies
from pseudomask.training.early import BEST
from pseudomask.training.learner import Learner
from pseudomask.training.recipe import Recipe, save_weights
from pseudomask.training.recording import NEW, RECORD, check_record, check_schedule, compared, new_record
from pseudomask.training.result import TrainingResult
from pseudomask.training.samples import Crops, TrainingCrops
from pseudomask.training.schedule import planned
from pseudomask.training.split import Split, describe, find_problems, gather, paths, tag_matrix, untaught
from pseudomask.training.state import CHECKPOINT, LATEST, LOG, PREVIOUS, steps_done
from pseudomask.training.team import agree, group
from pseudomask.training.validation import enough_to_tell, validate
from pseudomask.verbs import WEIGHTS

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
    _ = options.sides  # raises before any photo is read
    reading = split.reading
    if reading is None:
        before = None if options.overwrite else recorded_config(options.run)
        options, reading = settle(options, split.training.items, lead, recorded=before)
    device = pick_device(options.device)
    copies = _copies(options, split, recipe, reading, lead)
    if copies:
        result = replace(result, facts=result.facts | {"held_out_copies": len(copies)})
    record = new_record(options, split, recipe, result.findings, str(device))
    if copies:
        record.protocol["held_out_copies"] = list(copies)
    check_record(options, record, recipe)
    per_epoch = max(len(split.training.items) // options.batch_size, 1)
    check_schedule(options, record, per_epoch, lead)
    if options.dry_run:
        return replace(result, understood=_understood(options, split, recipe, str(device)))
    torch.manual_seed(options.seed)
    learner = recipe.build()
    rules = {"defaults": defaults(type(options)), "earlier": NEW | recipe.earlier}
    own = Own(options.run / RECORD, record, compared(options), rules)
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
            )
            trainer.patience = _patience(options, split)
            if team.first:
                held.enter_context(holding(options.run))
                check_record(options, record, recipe)  # since the first look another run may have begun
                _open_folder(options, record)
                trainer.before_saving = own.check
                trainer.after_epoch = partial(
                    save_weights, options, split, recipe, learner, record, options.run / LATEST
                )
            team.wait(stop)
            if recipe.prepare is not None:
                recipe.prepare(trainer, stop)
                if agree(0, stop, team, device)[1]:
                    lead.warn("stopped before the first step; run the same command again to resume")
                    return replace(result, exit_code=stop.exit_code)
            steps = f": {planned(options, len(split.training.items))}" if trainer.stepwise else ""
            lead.info(f"training on {device}, {'float32' if trainer.amp is None else trainer.amp}{steps}")
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
            step = trained.weights_step or trained.steps
            save_weights(options, split, recipe, learner, record, target, step, trained.validation)
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
        *([("training", planned(options, len(split.training.items)))] if recipe.trainer.stepwise else []),
        ("device", device),
        ("output", f"{options.run}; nothing was written"),
    ]


def _crops(options: AnyOptions, split: Split, recipe: Recipe, reading: Reading, learner: Learner) -> Crops:
    make = recipe.crops or partial(TrainingCrops, paths(split.training), tag_matrix(split.training))
    around = learner.network.backbone.normalisation.mean_level
    return make(crop=options.crop, sides=options.sides, seed=options.seed, reading=reading, around=around)


def _copies(options: AnyOptions, split: Split, recipe: Recipe, reading: Reading, lead: Reporter) -> tuple[str, ...]:
    """Held-out photos that are trained on too; looked for once, at the start of a first training."""
    if recipe.base_card is not None or not ranks().first:
        return ()
    if not options.overwrite and steps_done(options.run):
        before = earlier_record(options.run)
        return tuple(before.protocol.get("held_out_copies", ()) if before else ())
    found = find_copies(split, reading, pick_workers(options.workers))
    if text := found.told(len(split.held_out.items)):
        (lead.warn if found.names else lead.info)(text)
    return found.names


def _patience(options: AnyOptions, split: Split) -> int:
    """--patience where the held-out photos can tell whether the training still helps, else 0."""
    patience: int = getattr(options, "patience", 0)
    photos, positive = len(split.held_out.items), split.held_out.tag_counts().values()
    return patience if any(enough_to_tell(photos, n) for n in positive) else 0


def _measure(options: AnyOptions, split: Split, recipe: Recipe, reading: Reading) -> Measure | None:
    held = split.held_out
    if not held.items:
        return None
    measure = recipe.measure or partial(validate, tags=tag_matrix(held), classes=split.training.classes)
    return partial(measure, paths=paths(held), workers=pick_workers(options.workers), reading=reading)


def _open_folder(options: AnyOptions, record: RunRecord) -> None:
    """Write to RUN for the first time, after all checks."""
    if options.overwrite:
        for name in (WEIGHTS, LATEST, CHECKPOINT, PREVIOUS, BEST, LOG):
            (options.run / name).unlink(missing_ok=True)
    record.write(options.run / RECORD)
    sweep_leftovers(options.run)
