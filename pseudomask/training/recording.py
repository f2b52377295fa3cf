"""The record of a training, and the checks that only the same training resumes in its folder."""

from __future__ import annotations

from collections.abc import Sequence

from pseudomask.config.roles import deciding, defaults
from pseudomask.data.teachable import Finding
from pseudomask.errors import UsageError
from pseudomask.running.jsonable import jsonable
from pseudomask.running.record import RunRecord, check_resume
from pseudomask.running.reporter import Reporter
from pseudomask.training.base import AnyOptions
from pseudomask.training.recipe import Recipe
from pseudomask.training.schedule import changed_schedule, check_start, schedules
from pseudomask.training.split import Split
from pseudomask.training.state import CHECKPOINT, steps_done
from pseudomask.verbs import WEIGHTS

RECORD = "run.json"
_COMPARED = (
    "command",
    "classes",
    "weights.sha256",
    "weights.seeds_hash",
    "weights.masks_hash",
    "images_hash",
    "labels_hash",
)
_MAY_CHANGE = ("config.epochs", "config.patience")
"""Settings that may change while a training is not finished."""
NEW = {"config.patience": 0}
"""What earlier versions did, where the default is another now."""


def new_record(
    options: AnyOptions, split: Split, recipe: Recipe, findings: Sequence[Finding], device: str
) -> RunRecord:
    """What this training would write to RUN/run.json."""
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


def compared(options: AnyOptions) -> list[str]:
    """Fields of the record that decide the result."""
    return [*_COMPARED, *(f"config.{name}" for name in deciding(type(options), roles=("result", "machine")))]


def check_record(options: AnyOptions, record: RunRecord, recipe: Recipe) -> None:
    """Compare this run's record with the one in RUN: only the same training may resume there."""
    old = None if options.overwrite else RunRecord.read(options.run / RECORD)
    if old is not None:
        usual = defaults(type(options))
        fields = compared(options)
        if not (options.run / WEIGHTS).exists():
            fields = [one for one in fields if one not in _MAY_CHANGE]
        check_resume(old, record, fields, where=options.run, defaults=usual, earlier=NEW | recipe.earlier)
        record.timings = dict(old.timings)
        told = {"protocol": old.protocol, "config": usual | old.config}
        if changes := schedules(told, options.epochs, steps_done(options.run)):
            record.protocol["schedules"] = changes
    elif not options.overwrite and ((options.run / WEIGHTS).exists() or (options.run / CHECKPOINT).exists()):
        raise UsageError(f"{options.run} holds weights but no {RECORD}; add --overwrite or choose another folder")


def check_schedule(options: AnyOptions, record: RunRecord, per_epoch: int, reporter: Reporter) -> None:
    """Check that the training can resume or be finished with these epochs; report what a change of them means."""
    done = 0 if options.overwrite else steps_done(options.run)
    check_start(options.run, done, options.epochs * per_epoch, options)
    old = None if options.overwrite else RunRecord.read(options.run / RECORD)
    before = options.epochs if old is None else old.config.get("epochs", options.epochs)
    if before != options.epochs and done and not options.finish:
        reporter.info(changed_schedule(before, options, done, per_epoch))
