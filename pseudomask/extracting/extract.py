"""The verb `extract`: everything is checked first, then photos flow through, each done image on disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pseudomask.config import ExtractConfig
from pseudomask.config.roles import deciding, defaults
from pseudomask.data.collection import Collection, align_tags, collect, tell_labels, tell_passed_over
from pseudomask.data.images import ImagePaths, PassedOver
from pseudomask.data.survey import recorded_config, settle
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.extracting.engine import Engine
from pseudomask.extracting.inputs import PhotosAndTags
from pseudomask.extracting.outputs import write_outputs
from pseudomask.extracting.photos import Photo, Photos, batches, header_size, load, windowed
from pseudomask.extracting.shards import as_planned, own_batches
from pseudomask.maps import check_method, make_method, weight_rule
from pseudomask.maps.method import MapMethod
from pseudomask.maps.passes import passes
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.store import find_weights
from pseudomask.quoting import command
from pseudomask.running.folder_result import FolderResult
from pseudomask.running.folder_run import FAILED, FolderRun
from pseudomask.running.helpers import lower_thread_priority
from pseudomask.running.jsonable import jsonable
from pseudomask.running.layout import Outputs, plan_outputs
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, hash_file
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.signals import Stop, graceful

_WELL_SEEN = 100  # photos of a class in training
_COMPARED = ("command", "classes", "weights.sha256", "tagged")  # photos and tags are compared one by one


@dataclass(kw_only=True)
class ExtractResult(FolderResult):
    """What `extract` did.

    Attributes:
        tags_from: where the tags came from.
        untagged: keys of photos without a row of labels; `orphans`: rows without a photo.
        passed_over: files of `images` that hold pictures of kinds that are not read.
        images, with_scores: the photos' folder, and whether scores lie beside the masks.
    """

    tags_from: str
    images: Path
    with_scores: bool
    untagged: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()

    def details(self) -> list[tuple[str, str]]:
        return [("tags", self.tags_from)]

    def _failed(self) -> list[tuple[str, str]]:
        left = [("ignored", ", ".join(map(str, self.passed_over)))] if self.passed_over else []
        return [*super()._failed(), *left]

    def next_steps(self) -> list[tuple[str, str]]:
        if not self.with_scores:
            return super().next_steps()
        measure = f"with true masks: {command('evaluate', self.out, 'TRUE_MASKS', '--sweep')}"
        return [("next", command("refine", self.images, self.out, "REFINED")), ("or", measure)]


def extract(config: ExtractConfig, reporter: Reporter | None = None) -> ExtractResult:
    """Make a mask and scores for every photo of a folder (see `ExtractConfig`).

    Raises `UsageError` and its kin before anything is written, `SetupError` when weights or device are
    missing, `PseudomaskError` when the disk fails. An unreadable photo only marks its manifest line.
    With `dry_run` all is checked and nothing is made. Started by torchrun, it does this process's share of the photos
    and returns when all are done.
    """
    job = ranks()
    reporter = reporter or SilentReporter()
    told = job.once(reporter)
    seen = passes(config)
    check_method(config.method)
    collection = collect(config.images, config, exclude=config.out)
    outputs = plan_outputs(collection.items, config.images, config.out)
    weights = find_weights(config.weights)
    device = pick_device(config.device)
    amp = pick_amp(config.amp, device)
    network, card = load_network(weights)
    method = make_method(config, card)
    method.check(network)
    if method.gradients and config.amp == "auto":
        amp = None
    collection = align_tags(collection, card.classes)
    tell_passed_over(collection, told)
    earlier = None if config.overwrite else recorded_config(config.out)
    config, reading = settle(config, collection.items, told, recorded=earlier)
    threshold, threshold_from = _threshold(config, card, method)
    tags_from = _tell_tags(collection, card, told)
    result = ExtractResult(
        out=config.out,
        classes=card.classes,
        threshold=threshold,
        threshold_from=threshold_from,
        tags_from=tags_from,
        images=config.images,
        with_scores=config.scores,
        untagged=collection.untagged,
        orphans=collection.orphans,
        passed_over=collection.passed_over,
    )
    told.info(f"{len(collection.items)} photos, {config.method} with {weights.name} on {device}")
    record = _record(config, collection, card, weights, threshold, threshold_from, tags_from, device, amp)
    run = FolderRun(
        config.out,
        record,
        outputs,
        fields=_fields(config),
        overwrite=config.overwrite,
        inputs=PhotosAndTags(collection, config.images, hashed=config.hash_photos),
        prune=config.prune,
        defaults=defaults(ExtractConfig),
    )
    for line in run.standing.news():
        told.info(line)
    pending = run.pending(with_scores=config.scores, with_overlays=config.overlay)
    result.pending, result.skipped = len(pending), len(outputs) - len(pending)
    result.pruned = run.standing.lost
    if config.dry_run:
        result.understood = _understood(config, collection, card, weights, record, len(pending))
        return result
    with closing(run):
        run.start()
        pending = job.tell(pending)
        engine = Engine(
            network=network.on(device) if method.gradients else network.for_maps(device, amp),
            method=method,
            device=device,
            amp=amp,
            tag_thresholds=torch.tensor(card.tag_thresholds or (0.5,) * len(card.classes)),
            plain_scale=min(range(len(seen.scales)), key=lambda i: abs(seen.scales[i] - 1)),
            mirrored=seen.mirrored,
            max_side=config.max_side,
            stride=config.score_stride,
            largest=config.batch_size,
            reporter=reporter,
        )
        paths, planned, order = ImagePaths(collection.items), None, None
        if job.alone:
            order = windowed(range(len(pending)), lambda i: header_size(paths[pending[i]]), config.max_side)
        else:
            planned = own_batches(
                paths, pending, config.batch_size, scales=seen.scales, max_side=config.max_side, job=job
            )
            pending = [place for batch in planned for place in batch]
        photos = Photos(
            paths,
            pending,
            scales=seen.scales,
            max_side=config.max_side,
            max_pixels=config.max_pixels,
            allow_truncated=config.allow_truncated,
            keep_whole=config.overlay,
            reading=reading,
            hashed=config.hash_photos,
        )
        started = time.monotonic()
        with graceful() as stop:
            if pending:
                decoded = load(photos, workers=pick_workers(config.workers), device=device, order=order)
                groups = as_planned(decoded, planned) if planned is not None else batches(decoded, config.batch_size)
                flow = _Flow(config, collection, outputs, run, engine, threshold, reporter, stop)
                flow.run(groups, len(pending), job.label("extracting"))
            job.wait(stop)
        result.seconds = time.monotonic() - started
        run.finish({"extract": result.seconds})
        result.finish(run, stop, told, max_failures=config.max_failures)
        return result


@dataclass
class _Flow:
    """Batches in, files out: the network in this thread, encoding and writing in two others."""

    config: ExtractConfig
    collection: Collection
    outputs: Sequence[Outputs]
    run_: FolderRun
    engine: Engine
    threshold: float
    reporter: Reporter
    stop: Stop
    waiting: deque[Future[None]] = field(default_factory=deque)

    def run(self, groups: Iterator[list[Photo]], total: int, label: str) -> None:
        with (
            ThreadPoolExecutor(2, "write", lower_thread_priority) as pool,
            self.reporter.progress(total, label) as progress,
        ):
            for batch in groups:
                if batch[0].problem:
                    self._fail(batch[0])
                else:
                    self._submit(pool, batch)
                progress.advance(len(batch))
                self._collect(most=4 * self.config.batch_size)
                if self.stop.requested:
                    break
            self._collect(most=0)

    def _fail(self, photo: Photo) -> None:
        item = self.collection.items[photo.place]
        self.reporter.warn(f"{item.relative}: {photo.problem}")
        self.run_.note({"key": item.key, "image": item.relative, "status": FAILED, "reason": photo.problem})

    def _submit(self, pool: ThreadPoolExecutor, batch: Sequence[Photo]) -> None:
        keys = [self.collection.items[photo.place].key for photo in batch]
        given = self.collection.tags
        tags = [None if given is None else given.get(key) for key in keys]
        for photo, one, scores in zip(batch, tags, self.engine.scores(batch, tags), strict=True):
            self.waiting.append(
                pool.submit(
                    self._write,
                    self.outputs[photo.place],
                    self.collection.items[photo.place].relative,
                    scores,
                    self.config,
                    threshold=self.threshold,
                    names=self.collection.classes,
                    tags_from="classifier" if one is None else "labels",
                    inputs={"photo": photo.file.to_json()} if photo.file else {},
                    whole=photo.whole,
                )
            )

    def _write(self, *args: Any, **more: Any) -> None:
        """Files, then at once their manifest line: a kill between the two costs one image a thread, not a backlog."""
        self.run_.own.check()
        self.run_.note(write_outputs(*args, **more))

    def _collect(self, most: int) -> None:
        """Raise what went wrong in writing; wait where more than `most` images are still on their way."""
        while self.waiting and (len(self.waiting) > most or self.waiting[0].done()):
            self.waiting.popleft().result()


def _threshold(config: ExtractConfig, card: Card, method: MapMethod) -> tuple[float, str]:
    """The background threshold, and who chose it."""
    if config.threshold is not None:
        return config.threshold, "given"
    if method.threshold_key in card.thresholds:
        return card.thresholds[method.threshold_key], "from the weights' card"
    return method.default_threshold, "the method's default"


def _tell_tags(collection: Collection, card: Card, reporter: Reporter) -> str:
    if collection.tags is None:
        reporter.warn("no --labels; using the classifier's confident predictions as tags")
        seen = card.training.get("photos_per_class")
        counts = seen if isinstance(seen, dict) else {}
        well = [name for name, n in counts.items() if isinstance(n, int) and n >= _WELL_SEEN]
        if well and len(well) < len(counts):
            reporter.warn(
                f"these weights learned {', '.join(well[:8])}{', …' if len(well) > 8 else ''} from at least "
                f"{_WELL_SEEN} photos each; {len(counts) - len(well)} classes had fewer, so their predicted tags are "
                "unreliable"
            )
        return "the classifier"
    tell_labels(collection, reporter, "the classifier's confident predictions are used as their tags")
    return collection.labels


def _fields(config: ExtractConfig) -> list[str]:
    """What must be as it was in a run that is taken up again."""
    return [*_COMPARED, *(f"config.{name}" for name in deciding(ExtractConfig, (config.method,)))]


def _understood(
    config: ExtractConfig, collection: Collection, card: Card, weights: Path, record: RunRecord, pending: int
) -> list[tuple[str, str]]:
    """What a dry run tells."""
    protocol, total = record.protocol, len(collection.items)
    rule = f" ({protocol['recam_weights']})" if protocol["recam_weights"] else ""
    return [
        *collection.describe(),
        ("tags", protocol["tags"]),
        ("weights", f"{weights} ({card.method}, {card.backbone})"),
        ("method", f"{config.method}{rule}, {passes(config)}"),
        ("threshold", f"{protocol['threshold']:g}, {protocol['threshold_chosen']}"),
        ("device", f"{record.device}, {protocol['precision']}"),
        ("output", f"{config.out}: {pending} masks to make, {total - pending} already done; nothing was written"),
    ]


def _record(
    config: ExtractConfig,
    collection: Collection,
    card: Card,
    weights: Path,
    threshold: float,
    threshold_from: str,
    tags_from: str,
    device: torch.device,
    amp: torch.dtype | None,
) -> RunRecord:
    seen = passes(config)
    return RunRecord(
        command="extract",
        config=jsonable(config) | {"threshold": threshold, "scales": seen.text, "flip": seen.mirrored},
        classes=collection.classes,
        device=str(device),
        weights={"file": weights.name, "sha256": hash_file(weights), "licence": card.license},
        images_hash=collection.images_hash,
        labels_hash=collection.labels_hash,
        protocol={
            "method": config.method,
            "recam_weights": weight_rule(config, card) if config.method == "recam" else None,
            "scales": seen.text,
            "flip": seen.mirrored,
            "precision": str(amp or torch.float32).removeprefix("torch."),
            "threshold": threshold,
            "threshold_chosen": threshold_from,
            "tags": tags_from,
            "images": len(collection.items),
            "untagged": len(collection.untagged),
        },
    )
