"""The verb `prototypes`: the local prototypes of LPCAM (Chen & Sun, CVPR 2023), clustered over a whole training set.

Follows its public code, with two limits (photos and vectors per class) and a seed. Each photo is processed once, at
its original size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pseudomask.config import PrototypesConfig, WeightRule
from pseudomask.data.collection import Collection, align_tags, collect, report_labels
from pseudomask.data.images import ImagePaths
from pseudomask.data.survey import settle
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.errors import UsageError
from pseudomask.extracting.gathering import Gatherer, number
from pseudomask.extracting.loading import load
from pseudomask.extracting.ordering import batches
from pseudomask.extracting.photos import Photos
from pseudomask.maps import card_rule
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cams.clustering import cluster
from pseudomask.maps.cams.lpcam import Prototypes
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.edge_weights import backbone_hash
from pseudomask.networks.store import find_weights
from pseudomask.quoting import command, count
from pseudomask.running.halving import halving_on
from pseudomask.running.jsonable import jsonable
from pseudomask.running.reporter import Bad, Reporter, SilentReporter
from pseudomask.running.shown import Shown
from pseudomask.running.signals import graceful

_MADE = ("clusters", "foreground", "certainty", "context", "photos_per_class", "vectors", "seed", "max_side")


@dataclass(kw_only=True)
class PrototypesResult(Shown):
    """The result of `prototypes`.

    Attributes:
        file: the file that was written, or None.
        counts: class name → number of prototypes of the class and of its context.
        photos: how many were processed; `failures`: unreadable photos, with the reason for each.
        understood: (label, value) lines shown instead of a summary in a dry run.
    """

    file: Any = None
    rule: str = ""
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    photos: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    understood: list[tuple[str, object]] = field(default_factory=list)
    exit_code: int = 0

    def summary(self) -> list[tuple[str, object]]:
        if self.understood:
            return self.understood
        parts, context = (sum(pair[i] for pair in self.counts.values()) for i in (0, 1))
        return [
            ("prototypes", f"{parts} of {len(self.counts)} classes, {context} of their context"),
            ("photos", self.photos),
            ("failed", Bad(len(self.failures)) if self.failures else "0"),
            ("file", self.file or "nothing was written"),
            *([("next", self._next())] if self.file else []),
        ]

    def _next(self) -> str:
        return command(
            "extract",
            "IMAGES",
            "MASKS",
            "--cam",
            "lpcam",
            "--lpcam-prototypes",
            self.file,
            "--recam-weights",
            self.rule,
        )

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable({"schema": 1, **self.__dict__})
        return plain


def prototypes(config: PrototypesConfig, reporter: Reporter | None = None) -> PrototypesResult:
    """Write the prototypes file for the given weights (see `PrototypesConfig`).

    Raises `UsageError` or a related error before anything is written, and `SetupError` if weights or device are
    missing. If stopped by a signal, it writes nothing.
    """
    reporter = reporter or SilentReporter()
    if config.file.exists() and not config.overwrite:
        raise UsageError(f"{config.file} exists; add --overwrite or choose another name")
    collection = collect(config.images, config)
    if collection.tags is None:
        raise UsageError("prototypes needs the photos' tags; give --labels")
    weights = find_weights(config.weights)
    device = pick_device(config.device)
    network, card = load_network(weights)
    rule: WeightRule = config.recam_weights or ("first" if network.reclassifier is None else card_rule(card))
    network.map_weights(rule)
    collection = align_tags(collection, card.classes)
    report_labels(collection, reporter, "they are not looked at")
    config, reading = settle(config, collection.items, reporter)
    wanted = choose(collection, config)
    result = PrototypesResult(rule=rule, photos=len(wanted))
    if not wanted:
        raise UsageError("none of the photos shows a class of the weights; check --labels")
    if config.dry_run:
        result.understood = [*collection.describe(), ("looked at", count(len(wanted), "photo")), ("weight rule", rule)]
        return result
    hashed = backbone_hash(network.backbone)  # folding changes it
    classifier = network.classifier.weight.detach().flatten(1).clone()
    amp = pick_amp(config.amp, device)
    counts = [sum(c in tags for tags in wanted.values()) for c in range(len(card.classes))]
    share = [max(1, config.vectors // max(1, n)) for n in counts]
    gatherer = Gatherer(network.for_maps(device, amp), LinearMaps(rule), device, amp, config, wanted, share)
    with graceful() as stop:
        photos = Photos(
            ImagePaths(collection.items), [i for i, item in enumerate(collection.items) if item.key in wanted],
            scales=(1.0,), max_side=config.max_side, max_pixels=config.max_pixels,
            allow_truncated=config.allow_truncated, keep_whole=False, reading=reading,
        )  # fmt: skip
        _look(photos, gatherer, collection, result, reporter, lambda: stop.requested)
        if stop.requested:
            reporter.warn("stopped; nothing was written")
            result.exit_code = stop.exit_code
            return result
        reporter.info("clustering")
        kept = [_clusters(gatherer, classifier, c, config) for c in range(len(card.classes))]
    for name, n, (own, _) in zip(card.classes, counts, kept, strict=True):
        if not len(own):
            seen = "no photo shows it" if not n else "the classifier finds it in none of its photos"
            reporter.warn(f"no prototypes of {name}: {seen}; extract will use its plain map")
    made = {name: getattr(config, name) for name in _MADE} | {"photos": result.photos}
    parts, context = (tuple(pair[i] for pair in kept) for i in (0, 1))
    Prototypes(parts, context, card.classes, rule, hashed, jsonable(made)).save(config.file)
    result.file = config.file
    result.counts = {name: (len(a), len(b)) for name, (a, b) in zip(card.classes, kept, strict=True)}
    result.exit_code = int(len(result.failures) > config.max_failures)
    return result


def choose(collection: Collection, config: PrototypesConfig) -> dict[str, tuple[int, ...]]:
    """Photo key → the classes that it is used for: at most `photos_per_class` photos each, drawn by the seed."""
    tags = collection.tags or {}
    keys = sorted((one.key for one in collection.items), key=lambda key: number(f"{config.seed} {key}"))
    left = dict.fromkeys({c for one in tags.values() for c in one}, config.photos_per_class)
    wanted = {}
    for key in keys:
        own = tuple(c for c in tags.get(key, ()) if left[c] > 0)
        for c in own:
            left[c] -= 1
        if own:
            wanted[key] = own
    return wanted


def _look(
    photos: Photos, gatherer: Gatherer, collection: Collection, result: PrototypesResult, reporter: Reporter, stop: Any
) -> None:
    largest = gatherer.config.batch_size
    decoded = load(photos, workers=pick_workers(gatherer.config.workers), device=gatherer.device)
    with reporter.progress(len(photos), "looking") as progress:
        for batch in batches(decoded, largest):
            item = collection.items[batch[0].index]
            if batch[0].problem:
                reporter.warn(f"{item.relative}: {batch[0].problem}")
                result.failures[item.relative] = batch[0].problem
            else:
                keyed = [(collection.items[photo.index].key, photo) for photo in batch]
                device = gatherer.device
                largest = halving_on(device, keyed, largest, gatherer.take, reporter, lower="--max-side")[1]
            progress.advance(len(batch))
            if stop():
                return


def _clusters(gatherer: Gatherer, classifier: Tensor, c: int, config: PrototypesConfig) -> tuple[Tensor, Tensor]:
    """The prototypes of a class and of its context that the classifier accepts: (K, D) each."""
    generator = torch.Generator().manual_seed(number(f"{config.seed} {c}"))
    parts, context = (cluster(gatherer.vectors(c, part), config.clusters, generator) for part in (True, False))
    low, high = config.context
    sure, likely = ((one @ classifier.T.cpu()).softmax(1)[:, c] for one in (parts, context))
    keep = sure > config.certainty
    if len(parts) and not keep.any():
        keep = sure == sure.max()  # otherwise the class would have no map
    return parts[keep], context[(likely > low) & (likely < high)]
