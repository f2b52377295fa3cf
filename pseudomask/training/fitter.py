"""Fits both classifiers in closed form (`closed_form`): what stands in for the training loop with --fit lda."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudomask.config import WeightRule
from pseudomask.data.decoding import decode
from pseudomask.data.pixels import resize, with_long_side
from pseudomask.devices import pick_amp
from pseudomask.errors import ImageError, NothingLearned, UsageError
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cpmc import Cpmc
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.measuring.counting import in_order
from pseudomask.networks.network import CamNetwork
from pseudomask.refining.auto_threshold import choose, photo_agreement, spread
from pseudomask.running.helpers import lower_thread_priority
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop
from pseudomask.scores import ScoreMap
from pseudomask.training.closed_form import Seen, image_discriminant, region_discriminant
from pseudomask.training.learner import Learner
from pseudomask.training.result import Trained
from pseudomask.training.samples import TrainingCrops
from pseudomask.training.state import LOG, Log
from pseudomask.training.trainer import AnyOptions, Measure
from pseudomask.training.validation import Validation

SIDE = 320
"""Long side of the photos that are looked at."""
ENOUGH, A_CLASS = 600, 20
"""Most photos that are used: this many, or so many a class if that is more."""
FOR_THRESHOLDS = 32
RULE: WeightRule = "second"


class Fitter:
    """In the place of a `Trainer`: looks at each photo once, whole, and fits. The same photos give the same weights."""

    def __init__(
        self,
        learner: Learner,
        options: AnyOptions,
        *,
        device: torch.device,
        crops: Any,
        measure: Measure | None,
        reporter: Reporter,
        stop: Stop,
        mean_of_photos: bool = True,
    ) -> None:
        assert isinstance(learner.network, CamNetwork)
        assert isinstance(crops, TrainingCrops)
        self.network = learner.network.on(device).eval()
        self.learner, self.options, self.crops, self.measure, self.stop = learner, options, crops, measure, stop
        self.device, self.amp = device, pick_amp(options.amp, device)
        self.reporter = ranks().once(reporter)
        self.before_saving: Callable[[], None] = lambda: None
        self.after_epoch: Callable[[int, Validation | None], None] = lambda done, validation: None  # there is none

    def train(self) -> Trained:
        """Fit; a stop request ends it early, and the next run starts from the beginning.

        Raises `NothingLearned` where no photo could be read.
        """
        started = time.monotonic()
        chosen = choose_photos(self.crops.tags, self.options.seed)
        seen: list[Seen] = []
        lost: set[int] = set()
        with self.reporter.progress(len(chosen), "looking") as progress:
            for photo, pixels in self._pixels(chosen):
                if isinstance(pixels, str):
                    lost.add(photo)
                    self.reporter.warn(f"skipped: {pixels}")
                else:
                    seen.append(Seen(self._features(pixels), self._tags(photo)))
                progress.advance(1)
                if self.stop.requested:
                    break
        done = len(seen) + len(lost)
        if done == len(chosen):
            self._fit(seen, len(lost))
        speed = done / max(time.monotonic() - started, 1e-9)
        finished = done == len(chosen)
        if finished:
            self._thresholds([photo for photo in chosen if photo not in lost and self._tags(photo)])
        validation = self._validate(done) if finished else None
        return Trained(done, len(chosen), validation, len(lost), speed, frozenset(lost))

    def _pixels(self, photos: list[int]) -> Iterator[tuple[int, Tensor | str]]:
        """Each photo, uint8 (h, w, 3), or why it cannot be read; threads decode ahead."""
        threads = torch.get_num_threads() if self.options.workers < 0 else self.options.workers
        read = partial(_reduced, reading=self.crops.reading)
        paths = [self.crops.paths[i] for i in photos]
        yield from zip(photos, in_order(read, paths, threads + 1 if threads else 0, lower_thread_priority), strict=True)

    def _tags(self, photo: int) -> list[int]:
        found: list[int] = np.flatnonzero(self.crops.tags[photo]).tolist()
        return found

    @torch.no_grad()
    def _features(self, pixels: Tensor) -> Tensor:
        """(D, h, w) float16 in the CPU's memory."""
        x = self.network.backbone.normalisation.to_input(pixels[None].to(self.device), self.amp)
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            seen: Tensor = self.network.backbone(x, pyramid=False).last[0].half().cpu()
        return seen

    @torch.no_grad()
    def _fit(self, seen: list[Seen], lost: int) -> None:
        classes = self.network.n_classes
        if not any(one.tags for one in seen):
            raise NothingLearned(f"no photo with a tag could be read ({lost} are unreadable); no weights were written")
        tags = torch.zeros(len(seen), classes)
        for row, one in zip(tags, seen, strict=True):
            row[list(one.tags)] = 1
        first = image_discriminant(torch.stack([one.flat.mean(1) for one in seen]), tags)
        second = region_discriminant(seen, first, classes)
        assert self.network.reclassifier is not None
        for conv, rows in ((self.network.classifier, first), (self.network.reclassifier, second)):
            conv.weight.copy_(rows[:, :, None, None])

    def _thresholds(self, photos: list[int]) -> None:
        """Background thresholds without masks, as `refine --threshold auto` chooses them, for the weights' card."""
        methods: dict[str, MapMethod] = {"first": LinearMaps("first"), RULE: LinearMaps(RULE)}
        methods["cpmc"] = Cpmc(recommended=RULE)
        curves: dict[str, list[np.ndarray]] = {name: [] for name in methods}
        for photo, pixels in self._pixels([photos[i] for i in spread(len(photos), FOR_THRESHOLDS)]):
            if isinstance(pixels, str):
                continue
            for name, method in methods.items():
                found = photo_agreement(pixels.numpy(), self._scores(method, pixels, self._tags(photo)))
                curves[name] += [found] if found is not None else []
        thresholds = {}
        for name, some in curves.items():
            try:
                thresholds[name] = choose(some)
            except UsageError:  # maps and colours agree nowhere
                continue
        self.learner.card.update(weight_rule=RULE, thresholds=thresholds)

    def _scores(self, method: MapMethod, pixels: Tensor, tags: list[int]) -> ScoreMap:
        size = (pixels.shape[0], pixels.shape[1])
        grid = (-(-size[0] // 4), -(-size[1] // 4))
        index = torch.tensor([tags], device=self.device)
        views = [pixels[None].to(self.device)]
        maps = multiscale_maps(self.network, method, views, index, index >= 0, grid=grid, amp=self.amp)
        return ScoreMap(tuple(tag + 1 for tag in tags), maps[0].cpu().numpy(), size, 4)

    def _validate(self, done: int) -> Any:
        if self.measure is None or not ranks().first:
            return None
        result = self.measure(self.network, device=self.device, amp=self.amp)
        if result is not None:
            self.reporter.info(result.told())
            Log(self.options.run / LOG, from_step=0).write(step=done, epoch=1, **result.facts())
        return result


def choose_photos(tags: np.ndarray, seed: int) -> list[int]:
    """Positions of the photos to look at: all, or a random choice in which each class has an equal share if it can."""
    count, classes = tags.shape
    most = max(ENOUGH, A_CLASS * classes)
    order = np.random.default_rng([seed, 0x1DA]).permutation(count)
    if count <= most:
        return sorted(order.tolist())
    groups = [order[tags[order, c] > 0] for c in range(classes)] + [order[~tags[order].any(1)]]
    shares = np.linspace(0, most, len(groups) + 1).astype(int)
    sizes = [end - start for start, end in pairwise(shares.tolist())]
    chosen: dict[int, None] = {}
    for group, size in zip(groups, sizes, strict=True):
        chosen.update(dict.fromkeys(group[:size].tolist()))
    chosen.update(dict.fromkeys(order.tolist()))  # what rare classes leave to the others
    return sorted(list(chosen)[:most])


def _reduced(path: Path, reading: Any) -> Tensor | str:
    try:
        image = decode(path, reading=reading)
    except (ImageError, UsageError) as error:
        return str(error)
    size = with_long_side((image.shape[0], image.shape[1]), SIDE)
    return torch.from_numpy(np.ascontiguousarray(resize(image, size)))
