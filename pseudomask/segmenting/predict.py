"""The verb `predict`: masks of photos from a segmentation network, without tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pseudomask.config import PredictConfig
from pseudomask.config.roles import deciding
from pseudomask.data.collected import collect_once
from pseudomask.data.collection import Collection, align_tags, report_ignored, report_labels
from pseudomask.data.images import ImagePaths, PassedOver
from pseudomask.data.reading import Reading
from pseudomask.data.survey import recorded_config, settle
from pseudomask.devices import pick_amp, pick_device
from pseudomask.errors import UsageError
from pseudomask.extracting.filling import fill
from pseudomask.extracting.nvjpeg import decoding, pick_decoding
from pseudomask.extracting.photos import Photos
from pseudomask.extracting.refinement import Refinement
from pseudomask.networks.card import Card
from pseudomask.networks.segmenter import Segmenter, load_segmenter
from pseudomask.quoting import count
from pseudomask.running.folder_result import FolderResult
from pseudomask.running.jsonable import jsonable
from pseudomask.running.layout import Outputs, plan_outputs
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, hash_file
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.scores import MAX_SIDE
from pseudomask.segmenting.engine import THRESHOLD, SegmentEngine

_COMPARED = ("command", "classes", "weights.sha256", "tagged")


@dataclass(kw_only=True)
class PredictResult(FolderResult):
    """What `predict` did.

    Attributes:
        network: the network's name; `side`: the long side at which photos were segmented, 0 for their own.
        tags_from: where tags came from, if there were any.
        passed_over: image files of unsupported kinds.
    """

    network: str
    side: int
    tags_from: str
    passed_over: tuple[PassedOver, ...] = ()

    def made_with(self) -> list[tuple[str, str]]:
        tags = [("tags", self.tags_from)] if self.tags_from != "none" else []
        return [
            ("network", self.network),
            *tags,
            ("long side", f"{self.side} pixels" if self.side else "the photos' own"),
        ]


@dataclass(frozen=True, kw_only=True)
class PredictPlan:
    """A run that is ready to start (`Planned`)."""

    config: PredictConfig
    weights: Path
    network: Segmenter
    card: Card
    collection: Collection
    outputs: Sequence[Outputs]
    reading: Reading
    device: torch.device
    amp: torch.dtype | None
    side: int
    threshold: float = THRESHOLD
    refinement: Refinement | None = None
    scales: Sequence[float] = (1.0,)
    guesser: str = "network"

    @property
    def framed(self) -> bool:
        return False

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    @property
    def max_side(self) -> int:
        return self.side or MAX_SIDE

    def result(self) -> PredictResult:
        return PredictResult(
            out=self.config.out,
            classes=self.card.classes,
            threshold=self.threshold,
            threshold_from="the network's own",
            network=self.card.segmenter["network"],
            side=self.side,
            tags_from=self.collection.labels,
            passed_over=self.collection.passed_over,
        )

    def understood(self) -> list[tuple[str, str]]:
        return [
            *self.collection.describe(),
            ("weights", f"{self.weights} ({self.card.segmenter['network']})"),
            ("long side", f"{self.side} pixels" if self.side else "the photos' own"),
            ("device", f"{self.device}, {self._precision()}{decoding(self.config.decode)}"),
        ]

    def record(self) -> RunRecord:
        return RunRecord(
            command="predict",
            config=jsonable(self.config) | {"side": self.side},
            classes=self.card.classes,
            device=str(self.device),
            weights={"file": self.weights.name, "sha256": hash_file(self.weights), "licence": self.card.license},
            images_hash=self.collection.images_hash,
            labels_hash=self.collection.labels_hash,
            protocol={
                "method": self.card.segmenter["network"],
                "side": self.side,
                "precision": self._precision(),
                "scores_threshold": self.threshold,
                "threshold_chosen": "the network's own",
                "tags": self.collection.labels,
                "images": len(self.collection.items),
                "untagged": len(self.collection.untagged),
            },
        )

    def _precision(self) -> str:
        return str(self.amp or torch.float32).removeprefix("torch.")

    def compared(self) -> list[str]:
        return [*_COMPARED, *(f"config.{name}" for name in deciding(PredictConfig))]

    def photos(self, indices: Sequence[int]) -> Photos:
        return Photos(
            ImagePaths(self.collection.items),
            indices,
            scales=self.scales,
            max_side=self.max_side,
            max_pixels=self.config.max_pixels,
            allow_truncated=self.config.allow_truncated,
            keep_whole=self.config.overlay,
            reading=self.reading,
            hashed=self.config.hash_photos,
            encoded=self.config.decode == "gpu",
        )

    def engine(self, reporter: Reporter, record: RunRecord | None = None) -> SegmentEngine:
        config = self.config
        return SegmentEngine(
            network=self.network.for_maps(self.device, self.amp),
            device=self.device,
            amp=self.amp,
            side=self.side,
            tile=config.tile,
            overlap=config.overlap,
            max_side=self.max_side,
            stride=config.score_stride,
            bits=8 if config.score_bits == "8" else 16,
            largest=config.batch_size,
            reporter=reporter,
        )


def predict(config: PredictConfig, reporter: Reporter | None = None) -> PredictResult:
    """Segment every photo of a folder (see `PredictConfig`).

    Raises `UsageError` and related errors before anything is written, `SetupError` when weights or device are missing,
    `PseudomaskError` when the disk fails. An unreadable photo only marks its manifest line. Started by torchrun, it
    does this process's share of the photos and returns when all are done.
    """
    reporter = reporter or SilentReporter()
    plan = make_plan(config, ranks().once(reporter))
    return fill(plan, plan.result(), reporter, "segmenting")


def make_plan(config: PredictConfig, reporter: Reporter) -> PredictPlan:
    """Everything decided and checked. Raises as `predict` does."""
    if config.weights is None:
        raise UsageError("predict needs a segmentation network; give --weights RUN/weights.safetensors from train-seg")
    weights = config.weights
    network, card = load_segmenter(weights)
    collection = align_tags(collect_once(config.images, config, ranks(), exclude=config.out), card.classes)
    outputs = plan_outputs(collection.items, config.images, config.out)
    device = pick_device(config.device)
    report_ignored(collection, reporter)
    if collection.tags is not None:
        report_labels(collection, reporter, "all classes are possible in them")
    earlier = None if config.overwrite else recorded_config(config.out)
    config, reading = settle(config, collection.items, reporter, recorded=earlier, team=ranks())
    config = replace(config, decode=pick_decoding(config.decode, device, reporter))
    side = int(card.segmenter.get("side", 0)) if config.side is None else config.side
    name = card.segmenter["network"]
    reporter.info(f"{count(len(collection.items), 'photo')}, {name} of {weights.name} on {device}")
    return PredictPlan(
        config=config,
        weights=weights,
        network=network,
        card=card,
        collection=collection,
        outputs=outputs,
        reading=reading,
        device=device,
        amp=pick_amp(config.amp, device),
        side=side,
    )
