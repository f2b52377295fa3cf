"""The plan of a run of `extract`: decided, checked and reported before any photo is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from pseudomask.config import ExtractConfig
from pseudomask.config.quality import in_words, settle_quality
from pseudomask.config.refiners.crf import with_confidence
from pseudomask.config.roles import deciding
from pseudomask.data.collected import collect_once
from pseudomask.data.collection import Collection, report_ignored
from pseudomask.data.images import ImagePaths
from pseudomask.data.reading import Reading
from pseudomask.data.survey import earlier_record, recorded_config, settle
from pseudomask.extracting.eight_bits import RANGES, earlier_ranges, looked_at, resumes, to_int8
from pseudomask.extracting.engine import Engine
from pseudomask.extracting.naming import named_network
from pseudomask.extracting.nvjpeg import decoding, pick_decoding
from pseudomask.extracting.photos import Photos
from pseudomask.extracting.result import ExtractResult
from pseudomask.extracting.setup import Setup, check_names, make_setup
from pseudomask.extracting.tags import align, report_tags
from pseudomask.maps import weight_rule
from pseudomask.networks.card import Card
from pseudomask.networks.network import CamNetwork
from pseudomask.quoting import count
from pseudomask.running.jsonable import jsonable
from pseudomask.running.layout import Outputs, plan_outputs
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, hash_file
from pseudomask.running.reporter import Reporter

_COMPARED = ("command", "classes", "weights.sha256", "tagged", f"protocol.{RANGES}")


@dataclass(frozen=True, kw_only=True)
class Plan(Setup):
    """The setup and photos of one run.

    Attributes:
        config: what was `given`, with the quality's settings and how the photos' numbers are read filled in; `reading`
            is the latter.
        collection: photos and tags, the classes as the weights number them; `outputs`: their files, in its order.
        tags_from: where the tags come from.
    """

    reading: Reading
    collection: Collection
    outputs: Sequence[Outputs]
    tags_from: str
    given: ExtractConfig

    def result(self) -> ExtractResult:
        """The result of a run that has done nothing yet."""
        return ExtractResult(
            out=self.config.out,
            classes=self.card.classes,
            threshold=self.threshold,
            threshold_from=self.threshold_from,
            tags_from=self.tags_from,
            images=self.config.images,
            with_scores=self.config.scores,
            untagged=self.collection.untagged,
            orphans=self.collection.orphans,
            passed_over=self.collection.passed_over,
            refined_by=self.refinement.names if self.refinement else (),
            masks_threshold=self.refinement.threshold if self.refinement else self.threshold,
            own_weights=self.config.weights,
            quality=in_words(self.config, self.given),
        )

    def understood(self) -> list[tuple[str, str]]:
        """What a dry run reports."""
        rule = self._weight_rule()
        return [
            *self.collection.describe(),
            ("tags", self.tags_from),
            *([("quality", quality)] if (quality := in_words(self.config, self.given)) else []),
            ("weights", f"{self.weights} ({self.card.method}, {self.card.backbone})"),
            ("method", f"{self.config.method}{f' ({rule})' if rule else ''}, {self.config.cam} maps, {self.passes}"),
            ("threshold", f"{self.threshold:g}, {self.threshold_from}"),
            *([("refined by", str(self.refinement))] if self.refinement else []),
            ("device", f"{self.device}, {self._precision()}{decoding(self.config.decode)}"),
        ]

    def record(self) -> RunRecord:
        config, seen, chain = self.config, self.passes, self.refinement
        settled = {"threshold": self.threshold, "scales": seen.text, "flip": seen.mirrored}
        record = RunRecord(
            command="extract",
            config=jsonable(config) | settled | {"refine": list(chain.names if chain else ())},
            classes=self.collection.classes,
            device=str(self.device),
            weights={"file": self.weights.name, "sha256": hash_file(self.weights), "licence": self.card.license},
            images_hash=self.collection.images_hash,
            labels_hash=self.collection.labels_hash,
            protocol={
                "method": config.method,
                "recam_weights": self._weight_rule(),
                "cam": config.cam,
                "scales": seen.text,
                "flip": seen.mirrored,
                "precision": self._precision(),
                "threshold": self.threshold,
                "threshold_chosen": self.threshold_from,
                "tags": self.tags_from,
                "images": len(self.collection.items),
                "untagged": len(self.collection.untagged),
            }
            | ({"at_chance": list(found)} if (found := self.card.at_chance()) else {})
            | ({"walk_seeds": share} if (share := self.method.walk_seeds) else {})
            | dict(self.method.facts())
            | (chain.protocol() if chain else {}),
        )
        if config.amp == "int8":
            earlier = None if ranks().anew(config.overwrite) else earlier_record(config.out)
            record.protocol |= earlier_ranges(earlier)
        return record

    def engine(self, reporter: Reporter, record: RunRecord | None = None) -> Engine:
        engine, team = super().engine(reporter), ranks()
        if self.config.amp == "int8":
            photos = self.photos(looked_at(len(self.collection.items)))
            record = record or self.record()
            anew = not resumes(record, earlier_record(self.config.out), self.compared())
            to_int8(engine, photos, record, team, team.once(reporter), anew=anew)
        return engine

    def _weight_rule(self) -> str | None:
        return weight_rule(self.config, self.card) if self.config.method == "recam" else None

    def _precision(self) -> str:
        if self.config.amp == "int8":
            return "int8"
        return str(self.amp or torch.float32).removeprefix("torch.")

    def compared(self) -> list[str]:
        """Fields of the record that a resuming run must share; photos and tags are compared one by one."""
        config, chain = self.config, self.refinement
        names = deciding(ExtractConfig, (config.method or "", config.cam or "", *(chain.names if chain else ())))
        facts = [*(["boundary_sha256", "masks_threshold"] if chain else []), *self.method.facts()]
        return [*_COMPARED, *(f"protocol.{name}" for name in facts), *(f"config.{name}" for name in names)]

    @property
    def scales(self) -> Sequence[float]:
        return self.passes.scales

    @property
    def max_side(self) -> int:
        return self.config.max_side

    @property
    def guesser(self) -> str:
        return "classifier"

    def keyed_paths(self) -> Sequence[tuple[str, Path]]:
        return [(item.key, item.path) for item in self.collection.items]

    def photos(self, indices: Sequence[int]) -> Photos:
        """The photos at `indices` of the collection, to be decoded."""
        return Photos(
            ImagePaths(self.collection.items),
            indices,
            scales=self.passes.scales,
            max_side=self.config.max_side,
            max_pixels=self.config.max_pixels,
            allow_truncated=self.config.allow_truncated,
            keep_whole=self.config.overlay or self.refinement is not None,
            reading=self.reading,
            hashed=self.config.hash_photos,
            to_scale=self.device.type == "cuda",
            encoded=self.config.decode == "gpu",
        )


def make_plan(config: ExtractConfig, reporter: Reporter) -> Plan:
    """Raises `UsageError` and related errors, `SetupError` when weights or device are missing."""
    earlier = None if config.overwrite else recorded_config(config.out)
    given = config
    config, usual_refiners = settle_quality(with_confidence(config), earlier)
    check_names(config)
    collection = collect_once(config.images, config, ranks(), exclude=config.out)
    outputs = plan_outputs(collection.items, config.images, config.out)

    def choose(network: CamNetwork, card: Card) -> tuple[CamNetwork, Card]:
        return named_network(config, collection, network, card, reporter)

    setup = make_setup(config, usual_refiners, choose, reporter)
    collection = align(collection, setup.card)
    report_ignored(collection, reporter)
    config, reading = settle(setup.config, collection.items, reporter, recorded=earlier, team=ranks())
    config = replace(config, decode=pick_decoding(config.decode, setup.device, reporter))
    tags_from = report_tags(collection, setup.card, reporter)
    photos = count(len(collection.items), "photo")
    reporter.info(f"{photos}, {config.method} with {setup.weights.name} on {setup.device}")
    known = {one.name: getattr(setup, one.name) for one in fields(setup)} | {"config": config}
    return Plan(**known, reading=reading, collection=collection, outputs=outputs, tags_from=tags_from, given=given)
