"""The `refine` command: it checks everything first, then worker processes refine and write photo by photo."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pseudomask.config import RefineConfig
from pseudomask.config.refiners.crf import with_confidence
from pseudomask.config.roles import deciding, defaults
from pseudomask.data.images import PassedOver
from pseudomask.data.survey import inherit, not_decided, recorded_config, settle
from pseudomask.devices import pick_device
from pseudomask.extracting.flow import writers
from pseudomask.networks.edge_weights import weights_of, with_head
from pseudomask.refining import REFINERS, check_names
from pseudomask.refining.around import run_batches
from pseudomask.refining.batching import pick_batch, plan_batches
from pseudomask.refining.matched import jobs_of, match_once
from pseudomask.refining.refiner import check_photos
from pseudomask.refining.seeds import PhotosAndSeeds, SeededPhotos, Seeds, problems, read_seeds
from pseudomask.refining.thresholds import choose_threshold
from pseudomask.refining.walk import settled
from pseudomask.refining.work import Job, Work, Worked, failed, with_levels
from pseudomask.running.claims import Tally, claims
from pseudomask.running.folder_result import FolderResult
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.holder import report_filling
from pseudomask.running.jsonable import jsonable
from pseudomask.running.layout import check_folders, plan_outputs
from pseudomask.running.machine import cores
from pseudomask.running.manifest import FAILED
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, hash_file, hash_lines
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.signals import Stop, graceful
from pseudomask.running.workers import Lost

_MOST_BATCHES = 4  # claimed at once
_COMPARED = (  # photos and seeds: one by one
    "command",
    "classes",
    "protocol.seeds_hash",
    "protocol.affinity_sha256",
    "protocol.scores_threshold",
)


@dataclass(kw_only=True)
class RefineResult(FolderResult):
    """What `refine` did.

    Attributes:
        method: the refiners, in the order they were applied.
        seeds: the folder of the seeds.
        without_seeds: keys of photos without scores; `orphans`: keys of scores without a photo.
        passed_over: image files of unsupported kinds among the photos.
        scores_threshold: background threshold of the refined scores; `threshold` is that of the seeds.
    """

    method: tuple[str, ...]
    seeds: Path
    scores_threshold: float = 0.5
    without_seeds: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()

    def details(self) -> list[tuple[str, str]]:
        return [("method", ", then ".join(self.method)), ("seeds", str(self.seeds))]

    def made_with(self) -> list[tuple[str, str]]:
        return [*super().made_with(), ("threshold afterwards", f"{self.scores_threshold:g}")]


def check_methods(config: RefineConfig) -> tuple[str, ...]:
    """The refiners to apply, in order. Raises `UsageError` for an unknown name."""
    return check_names(config.method, "--method") or (("walk",) if config.affinity is not None else ("crf",))


def refine(config: RefineConfig, reporter: Reporter | None = None) -> RefineResult:
    """Turn every seed in a folder into a better mask (see `RefineConfig`).

    Raises `UsageError` or a subclass before anything is written, `SetupError` if weights, a device or a package are
    missing, and `PseudomaskError` if the disk fails. An unusable photo is only marked as failed in the manifest. With
    `dry_run`, everything is checked but nothing is written. Under torchrun, it refines this process's share of the
    photos and returns when all processes are done.
    """
    team = ranks()
    reporter = reporter or SilentReporter()
    lead = team.once(reporter)
    methods = check_methods(config)
    check_folders(config.seeds, config.out, what="seeds'")
    seeds = read_seeds(config.seeds, config.class_file)
    seeded = match_once(config, seeds, team, exclude=config.out)
    config, reading = settle(inherit(with_confidence(config), seeds.config), seeded.items, lead, team=team)
    outputs = plan_outputs(seeded.items, config.images, config.out)
    device = pick_device(config.device)
    if "walk" in methods:
        config = with_head(config, weights_of(config.seeds))
        config = settled(config, seeds.walk_seeds, seeds.classes)
    refiners = [REFINERS[name](config) for name in methods]  # raises now if anything is missing
    check_photos(refiners, [(item.key, item.path) for item in seeded.items if item.key not in seeded.orphans])
    workers = (cores() if device.type == "cpu" else writers(device, cores())) if config.workers < 0 else config.workers
    jobs = jobs_of(config, seeded, outputs, seeds, reading)
    report_filling(seeds.path, lead)
    for line in problems(config, seeds, seeded):
        lead.warn(line)
    with graceful() as stop:
        threshold, chosen = choose_threshold(config, seeds, jobs, workers, stop, lead)
        result = RefineResult(
            out=config.out,
            classes=seeds.classes,
            threshold=threshold,
            threshold_from=chosen,
            method=methods,
            seeds=seeds.path,
            without_seeds=seeded.without_seeds,
            passed_over=seeded.passed_over,
            orphans=tuple(sorted(seeded.orphans)),
        )
        if stop.requested:
            result.exit_code = stop.exit_code
            return result
        batch = pick_batch(config, device)
        work = Work(config, with_levels(refiners, threshold, seeds.classes), seeds.classes, threshold, batch)
        result.scores_threshold = work.refiners[-1].level
        record = _record(config, methods, seeds, seeded, device, result)
        fields = [*_COMPARED, *(f"config.{name}" for name in deciding(RefineConfig, methods))]
        run = FolderRun(
            config.out,
            record,
            outputs,
            fields=fields,
            overwrite=config.overwrite,
            inputs=PhotosAndSeeds(seeded, seeds, config.images, hashed=config.hash_photos),
            prune=config.prune,
            defaults=defaults(RefineConfig),
            earlier={"protocol.seeds_hash": seeds.hash_before} | not_decided(recorded_config(config.out)),
        )
        pending = result.begin(run, lead, with_scores=config.scores, with_overlays=config.overlay)
        lead.info(f"{len(jobs)} photos, {', then '.join(methods)} on {device}, {max(workers, 1)} at a time")
        if config.dry_run:
            result.understood = _understood(result, seeded, str(device), workers)
            return result
        work.own = run.own
        with closing(run):
            run.start(stop)
            started = time.monotonic()
            batches = plan_batches([jobs[i] for i in pending], seeds.entries, batch)
            _refine_all(work, batches, workers, device, seeds, run, stop, reporter)
            result.seconds = time.monotonic() - started
            run.finish({"refine": result.seconds}, stop)
            result.finish(run, stop, lead, max_failures=config.max_failures)
    return result


def _refine_all(
    work: Work,
    batches: Sequence[tuple[Job, ...]],
    workers: int,
    device: torch.device,
    seeds: Seeds,
    run: FolderRun,
    stop: Stop,
    reporter: Reporter,
) -> None:
    """Refine those of the batches that this process claims, and wait for the others.

    If a worker dies, retry each photo of its batch alone, since only one of them caused it.
    """
    most, alone = work.most, list[tuple[Job, ...]]()
    tally, own = Tally(run.team), claims(run.team, len(batches), most=_MOST_BATCHES)
    with reporter.progress(sum(map(len, batches)), run.team.common_label("refining")) as progress:
        for todo, order in ((batches, own), (alone, None)):
            for position, worked in run_batches(work, todo, workers, device, stop, order):
                if isinstance(worked, Lost) and len(todo[position]) > 1:
                    alone += [(job,) for job in todo[position]]
                    continue
                if isinstance(worked, Lost):
                    worked = Worked([failed(todo[position][0], worked.reason)], most)
                if worked.most < most:
                    most = worked.most
                    reporter.warn(f"out of memory; continuing with batches of {most}")
                seeds.check()  # a new record is written before the first new score file
                for entry in worked.entries:
                    if entry["status"] == FAILED:
                        reporter.warn(f"{entry['image']}: {entry['reason']}")
                    run.note(entry)
                    progress.advance(tally.add(1))
        run.wait(stop, lambda: progress.advance(tally.add()))


def _record(
    config: RefineConfig,
    methods: tuple[str, ...],
    seeds: Seeds,
    seeded: SeededPhotos,
    device: torch.device,
    result: RefineResult,
) -> RunRecord:
    named = [item.relative for item in seeded.items] if config.list or config.limit else []
    settings: dict[str, Any] = jsonable(replace(config, method=methods)) | {"threshold": result.threshold}
    affinity = hash_file(config.affinity) if config.affinity is not None and "walk" in methods else None
    return RunRecord(
        command="refine",
        config=settings,
        classes=seeds.classes,
        device=str(device),
        weights={} if seeds.record is None else seeds.record.weights,
        # The seeds' own list if all of it is used: photos whose seeds are added later can then be refined later.
        images_hash=hash_lines(["" if seeds.record is None else seeds.record.images_hash, *named]),
        protocol={
            "method": ",".join(methods),
            "threshold": result.threshold,
            "threshold_chosen": result.threshold_from,
            "scores_threshold": result.scores_threshold,
            "affinity_sha256": affinity,
            "images": len(seeded.items),
            "seeds_hash": seeds.hash,
            "seeds": seeds.protocol,
        },
    )


def _understood(result: RefineResult, seeded: SeededPhotos, device: str, workers: int) -> list[tuple[str, str]]:
    """Summary lines that a dry run reports."""

    def counted(keys: Sequence[str]) -> str:
        return f"{len(keys)}: {', '.join(keys[:3])}{', …' if len(keys) > 3 else ''}" if keys else "none"

    return [
        ("photos", counted([item.relative for item in seeded.items])),
        ("photos without scores", counted(result.without_seeds)),
        ("scores without a photo", counted(result.orphans)),
        ("classes", counted(result.classes)),
        *result.made_with(),
        ("device", f"{device}, {f'{workers} processes' if workers else 'this process'}"),
        result.left_to_make(),
    ]
