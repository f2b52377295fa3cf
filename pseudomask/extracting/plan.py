"""What a run of `extract` will do: decided, checked and reported before any photo is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pseudomask.config import ExtractConfig
from pseudomask.config.quality import in_words, settle_quality
from pseudomask.data.collection import Collection, collect, report_ignored
from pseudomask.data.images import ImagePaths
from pseudomask.data.reading import Reading
from pseudomask.data.survey import recorded_config, settle
from pseudomask.devices import pick_amp, pick_device
from pseudomask.errors import UsageError
from pseudomask.extracting.engine import Engine
from pseudomask.extracting.naming import named_network
from pseudomask.extracting.photos import Photos
from pseudomask.extracting.refinement import Refinement
from pseudomask.extracting.result import ExtractResult
from pseudomask.extracting.tags import align, report_tags
from pseudomask.maps import check_method, make_method, weight_rule
from pseudomask.maps.cams import check_cam
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import ways
from pseudomask.maps.passes import Passes, passes
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights
from pseudomask.quoting import command, count
from pseudomask.running.jsonable import jsonable
from pseudomask.running.layout import Outputs, plan_outputs
from pseudomask.running.record import RunRecord, hash_file
from pseudomask.running.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Photos, network and settings of one run.

    Attributes:
        config: what was `given`, with the quality's settings and how the photos' numbers are read filled in; `reading`
            is the latter.
        passes: at which scales and how mirrored each photo is seen.
        collection: photos and tags, the classes as the weights number them; `outputs`: their files, in its order.
        amp: precision of the network, None for float32.
        threshold: the background threshold, `threshold_from` who chose it; `tags_from`: where the tags come from.
        usual_refiners: those that run where `config.refine` names none.
        refinement: what is done with each photo's scores before its mask is made.
    """

    config: ExtractConfig
    reading: Reading
    passes: Passes
    collection: Collection
    outputs: Sequence[Outputs]
    weights: Path
    network: CamNetwork
    card: Card
    method: MapMethod
    device: torch.device
    amp: torch.dtype | None
    threshold: float
    threshold_from: str
    tags_from: str
    given: ExtractConfig
    usual_refiners: tuple[str, ...] = ()
    refinement: Refinement | None = None

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
            quality=in_words(self.config.quality, self.given),
        )

    def understood(self) -> list[tuple[str, str]]:
        """What a dry run reports."""
        rule = self._weight_rule()
        return [
            *self.collection.describe(),
            ("tags", self.tags_from),
            *([("quality", quality)] if (quality := in_words(self.config.quality, self.given)) else []),
            ("weights", f"{self.weights} ({self.card.method}, {self.card.backbone})"),
            ("method", f"{self.config.method}{f' ({rule})' if rule else ''}, {self.config.cam} maps, {self.passes}"),
            ("threshold", f"{self.threshold:g}, {self.threshold_from}"),
            *([("refined by", str(self.refinement))] if self.refinement else []),
            ("device", f"{self.device}, {self._precision()}"),
        ]

    def record(self) -> RunRecord:
        config, seen, chain = self.config, self.passes, self.refinement
        settled = {"threshold": self.threshold, "scales": seen.text, "flip": seen.mirrored}
        return RunRecord(
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
            | dict(self.method.facts())
            | (chain.protocol() if chain else {}),
        )

    def _weight_rule(self) -> str | None:
        return weight_rule(self.config, self.card) if self.config.method == "recam" else None

    def _precision(self) -> str:
        return str(self.amp or torch.float32).removeprefix("torch.")

    def engine(self, reporter: Reporter) -> Engine:
        scales = self.passes.scales
        gradients = self.method.gradients  # folded networks have none
        return Engine(
            network=self.network.on(self.device) if gradients else self.network.for_maps(self.device, self.amp),
            method=self.method,
            device=self.device,
            amp=self.amp,
            tag_thresholds=torch.tensor(self.card.tag_thresholds or (0.5,) * len(self.card.classes)),
            plain_scale=min(range(len(scales)), key=lambda i: abs(scales[i] - 1)),
            mirrored=self.passes.mirrored,
            max_side=self.config.max_side,
            stride=self.config.score_stride,
            largest=self.config.batch_size,
            reporter=reporter,
            look=self.refinement.look if self.refinement else None,
            look_at=self.whole_view or 0,
        )

    @property
    def whole_view(self) -> int | None:
        """The view that shows photos at their working size and not mirrored; None where there is none."""
        scales = self.passes.scales
        straight = (i for i, scale in enumerate(scales) if scale == 1 and not ways(self.passes.mirrored, i)[0])
        return next(straight, None)

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
        )


def make_plan(config: ExtractConfig, reporter: Reporter) -> Plan:
    """Raises `UsageError` and its kin, `SetupError` when weights or device are missing."""
    earlier = None if config.overwrite else recorded_config(config.out)
    given = config
    config, usual_refiners = settle_quality(config, earlier)
    seen = passes(config)
    assert config.method is not None
    check_method(config.method)
    check_cam(config.cam)
    collection = collect(config.images, config, exclude=config.out)
    outputs = plan_outputs(collection.items, config.images, config.out)
    weights = find_weights(config.weights)
    device = pick_device(config.device)
    amp = pick_amp(config.amp, device)
    network, card = load_network(weights)
    if card.vocabulary:
        network, card = named_network(config, collection, network, card, device, amp, reporter)
    method = make_method(config, card)
    method.check(network)
    if config.method != "cam" and card.reactivated is not None and not card.second_taught:
        reporter.warn(
            f"{weights.name}: its second classifier is not used, because it was trained on one class alone and learned "
            "nothing; train it again with `pseudomask reactivate`"
        )
    collection = align(collection, card)
    report_ignored(collection, reporter)
    config, reading = settle(config, collection.items, reporter, recorded=earlier)
    threshold, threshold_from = _threshold(config, card, method)
    tags_from = report_tags(collection, card, reporter)
    reporter.info(f"{count(len(collection.items), 'photo')}, {config.method} with {weights.name} on {device}")
    return Plan(
        config=config,
        reading=reading,
        passes=seen,
        collection=collection,
        outputs=outputs,
        weights=weights,
        network=network,
        card=card,
        method=method,
        device=device,
        amp=None if method.gradients and config.amp == "auto" else amp,
        threshold=threshold,
        threshold_from=threshold_from,
        tags_from=tags_from,
        given=given,
        usual_refiners=usual_refiners,
    )


def _threshold(config: ExtractConfig, card: Card, method: MapMethod) -> tuple[float, str]:
    """The background threshold, and who chose it."""
    if config.threshold == "auto":
        first = command("extract", config.images, "SEEDS", "--refine", "none")
        then = command("refine", config.images, "SEEDS", config.out, "--threshold", "auto")
        raise UsageError(
            f"--threshold auto needs all photos' scores first: run `{first}` with your other settings, then `{then}`"
        )
    if config.threshold is not None:
        return config.threshold, "given"
    if method.threshold_key in card.thresholds:
        return card.thresholds[method.threshold_key], "from the weights' card"
    return method.default_threshold, "the method's default"
