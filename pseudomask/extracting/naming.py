"""Weights with a vocabulary: the names of a run's classes, from tags, a class file, or a look at the photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pseudomask import vocabulary
from pseudomask.config import ExtractConfig
from pseudomask.data.collection import Collection
from pseudomask.data.images import ImagePaths
from pseudomask.data.survey import earlier_record, settle
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.errors import UsageError
from pseudomask.extracting.loading import load
from pseudomask.extracting.ordering import batches
from pseudomask.extracting.photos import Photo, Photos
from pseudomask.extracting.tags import classes_of_tags
from pseudomask.networks.card import Card
from pseudomask.networks.network import CamNetwork
from pseudomask.quoting import count, listed
from pseudomask.running.halving import halving, warn_of_halving
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.vocabulary.kinds import Kinds, kinds

_MOST = 254  # masks with more classes have 16 bits


def named_network(
    config: ExtractConfig,
    collection: Collection,
    network: CamNetwork,
    card: Card,
    reporter: Reporter,
) -> tuple[CamNetwork, Card]:
    """The network and card whose classes are the photos' tags.

    Without tags and without a class file, they are the kinds that the classifier is sure of in some photo; a run that
    is resumed keeps those that it has.
    """
    if collection.classes:
        return classes_of_tags(collection, network, card, reporter)
    known = kinds(card.classes)
    record = None if config.overwrite else earlier_record(config.out)
    if record is not None and record.classes and {*record.classes} <= {*known.names}:
        names = tuple(record.classes)
        reporter.info(f"the classes are those of {config.out}, which --overwrite chooses anew")
    else:
        device = pick_device(config.device)
        looker = _Looker(network.to(device), known, device, pick_amp(config.amp, device))
        names = looker.names(config, collection, reporter)
    return classes_of_tags(
        replace(collection, classes=names, classes_given=True), network.cpu(), card, SilentReporter()
    )


@dataclass
class _Looker:
    """Sees every photo once, at its working size."""

    network: CamNetwork
    known: Kinds
    device: torch.device
    amp: torch.dtype | None
    found: list[Tensor] = field(default_factory=list)

    def names(self, config: ExtractConfig, collection: Collection, reporter: Reporter) -> tuple[str, ...]:
        """What some photo shows, merged. Raises `UsageError` if that is nothing, or too much for one folder."""
        config, reading = settle(config, collection.items, SilentReporter())
        photos = Photos(
            ImagePaths(collection.items), range(len(collection.items)), scales=(1.0,), max_side=config.max_side,
            max_pixels=config.max_pixels, allow_truncated=config.allow_truncated, keep_whole=False, reading=reading,
        )  # fmt: skip
        largest = config.batch_size or 4
        decoded = load(photos, workers=pick_workers(config.workers), device=self.device)
        with reporter.progress(len(photos), "finding classes") as progress:
            for batch in batches(decoded, largest):
                if not batch[0].problem:
                    largest = halving(batch, largest, self._look, warn_of_halving(reporter))[1]
                progress.advance(len(batch))
        names = self.known.merged(torch.cat(self.found)) if self.found else ()
        if not names:
            raise UsageError("no photo shows a class of ImageNet for sure; give --labels FILE, or --class-file FILE")
        if len(names) > _MOST:
            raise UsageError(
                f"the photos show {len(names)} classes, too many for masks; choose some in a --class-file "
                f"({listed(names, 8)})"
            )
        reporter.info(f"the photos show {count(len(names), 'class')} of ImageNet: {', '.join(names)}")
        return names

    def _look(self, photos: Sequence[Photo]) -> Sequence[None]:
        pixels = torch.stack([photo.views[0] for photo in photos]).to(self.device)
        backbone = self.network.backbone
        with torch.inference_mode(), torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            features = backbone(backbone.normalisation.to_input(pixels, self.amp), pyramid=False)
        with torch.inference_mode():
            probability = self.network.logits(features).softmax(1).cpu()
            self.found.append(self.known.seen(probability, vocabulary.LEAST_PROBABILITY))
        return [None] * len(photos)
