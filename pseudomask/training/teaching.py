"""The labels that `calibrate` learns from: the confident pixels of seeds, walked and refined by the CRF."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pseudomask.config import CalibrateConfig, CrfOptions, WalkOptions
from pseudomask.data.collection import Collection
from pseudomask.data.reading import Reading
from pseudomask.data.survey import earlier_record, inherit, settle
from pseudomask.devices import pick_device
from pseudomask.errors import UsageError
from pseudomask.networks.card import Card
from pseudomask.networks.edge_weights import bundled_head
from pseudomask.refining.crf import Crf
from pseudomask.refining.seeds import Seeds, read_seeds
from pseudomask.refining.walk import Walk, settled
from pseudomask.refining.work import Job
from pseudomask.running.layout import Outputs
from pseudomask.running.machine import cores
from pseudomask.running.ranks import ranks
from pseudomask.running.record import hash_file
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop
from pseudomask.training.base import BaseTrainer
from pseudomask.training.confident import LabelledCrops, LabelWork, confident_thresholds
from pseudomask.training.result import TrainingResult
from pseudomask.training.seeds import make_seeds
from pseudomask.training.train_affinity import LABELS, label

SEEDS = "seeds"
"""The folder in RUN of the seeds, unless --seeds names another."""


@dataclass(frozen=True)
class Teaching:
    """Labels of the training photos, RUN/confident/….png, made before the first step.

    Attributes:
        source: facts for the record: seeds, thresholds and boundary head. Other ones make another training.
        config, reading: the settings, and how photos are read: as the seeds' were.
    """

    work: LabelWork
    jobs: tuple[Job, ...]
    workers: int
    overwrite: bool
    source: dict[str, Any]
    paths: tuple[Path, ...]
    config: CalibrateConfig
    reading: Reading

    def make(self, trainer: BaseTrainer, stop: Stop, *, reporter: Reporter) -> None:
        label(self.work, self.jobs, self.workers, ranks().anew(self.overwrite), reporter, trainer, stop)

    def crops(self, **settings: Any) -> LabelledCrops:
        return LabelledCrops(self.paths, [job.outputs.mask for job in self.jobs], **settings)


def labels_for(
    config: CalibrateConfig, weights: Path, card: Card, training: Collection, reporter: Reporter
) -> Teaching | TrainingResult:
    """Make the missing seeds, and plan the labels. Returns the result of a training that ends here.

    Raises `UsageError` or `WeightsError` if seeds or teacher do not fit the weights.
    """
    lead = ranks().once(reporter)
    folder = config.run / SEEDS if config.seeds is None else config.seeds
    head = _teacher(config.teacher, weights)
    options = WalkOptions(affinity=head, walk_weights=weights)
    walk = None if head is None else Walk.of(options).for_classes(card.classes)  # raises before seeds are made
    _own(folder, weights)
    made = make_seeds(config, folder, reporter)
    if made.exit_code >= 128:
        return TrainingResult(None, {}, exit_code=made.exit_code)
    if config.dry_run and made.pending:
        return TrainingResult(None, {}, understood=[*made.understood, ("then", "heads are trained on these seeds")])
    seeds = read_seeds(folder, None)
    if seeds.classes != card.classes:
        raise UsageError(f"{folder}: seeds of other classes than those of {weights}")
    threshold = _threshold(seeds)
    if walk is not None:
        walk = replace(walk, kept=settled(options, seeds.walk_seeds, card.classes).walk_seeds or 0.0)
    config, reading = settle(inherit(config, seeds.config), training.items, lead)
    work = LabelWork(len(seeds.classes), *confident_thresholds(threshold), Crf.of(CrfOptions()), walk, threshold)
    lead.info(f"labels: seeds of {folder}, {'' if head is None else f'walked with {head.name}, '}after the CRF")
    tests = seeds.tests(config.images)
    jobs = tuple(
        Job(
            Outputs(item.key, config.run / LABELS), item.relative, config.images, folder, "", reading,
            tests.get(item.key),
        )
        for item in training.items
    )  # fmt: skip
    source = {
        "seeds_hash": seeds.hash,
        "seeds_threshold": threshold,
        "teacher": None if walk is None else _facts(walk),
    }
    workers = (cores() if pick_device(config.device).type == "cpu" else 1) if config.workers < 0 else config.workers
    photos = tuple(item.path for item in training.items)
    return Teaching(work, jobs, workers, config.overwrite, source, photos, config, reading)


def _teacher(named: str, weights: Path) -> Path | None:
    """The boundary head that `--teacher` means."""
    if named == "none":
        return None
    return bundled_head(weights) if named == "auto" else Path(named)


def _facts(walk: Walk) -> dict[str, Any]:
    return {"file": walk.affinity.name, "sha256": hash_file(walk.affinity), "seeds": walk.kept}


def _own(folder: Path, weights: Path) -> None:
    """Raise `UsageError` for seeds of other weights, to which those that are missing could not be added."""
    earlier = earlier_record(folder)
    made_with = None if earlier is None else (earlier.weights or {}).get("sha256")
    if made_with not in (None, hash_file(weights)):
        raise UsageError(f"{folder}: seeds of other weights than {weights}; choose another RUN, or other --seeds")


def _threshold(seeds: Seeds) -> float:
    if seeds.threshold is None:
        raise UsageError(f"{seeds.path}: no run.json with a threshold; leave --seeds out, and seeds are made")
    return seeds.threshold
