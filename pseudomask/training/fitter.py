"""`train-cls --fit lda`: fits both classifiers in closed form (`closed_form`)."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pseudomask.config import WeightRule
from pseudomask.errors import NothingLearned, UsageError
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cpmc import Cpmc
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.refining.auto_threshold import choose, photo_agreement, spread
from pseudomask.scores import ScoreMap
from pseudomask.training.base import BaseTrainer
from pseudomask.training.closed_form import Seen, image_discriminant, region_discriminant
from pseudomask.training.looking import Looker, choose_photos
from pseudomask.training.measured import Measured
from pseudomask.training.result import Trained
from pseudomask.training.state import LOG, Log

FOR_THRESHOLDS = 32
"""Most photos on which thresholds are chosen."""
RULE: WeightRule = "second"


class Fitter(BaseTrainer):
    """Looks at each photo once, whole, and fits. The same photos give the same weights."""

    stepwise: ClassVar[bool] = False

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.network.eval()
        self.looker = Looker.of(self)

    def train(self) -> Trained:
        """Fit; a stop request ends it early, and the next run starts from the beginning.

        Raises `NothingLearned` where no photo could be read.
        """
        started = time.monotonic()
        chosen = choose_photos(self.looker.crops.tags, self.options.seed)
        seen: list[Seen] = []
        lost: set[int] = set()
        for photo, features in self.looker.look(chosen, self.lead, self.lead, self.stop):
            if features is None:
                lost.add(photo)
            else:
                seen.append(Seen(features, self.looker.tags(photo)))
        done = len(seen) + len(lost)
        finished = done == len(chosen)
        if finished:
            self._fit(seen, len(lost))
        speed = done / max(time.monotonic() - started, 1e-9)
        if finished:
            self._thresholds([photo for photo in chosen if photo not in lost and self.looker.tags(photo)])
        validation = self._validate(done) if finished else None
        return Trained(done, len(chosen), validation, len(lost), speed, frozenset(lost))

    @torch.no_grad()
    def _fit(self, seen: list[Seen], lost: int) -> None:
        network = self.looker.network
        if not any(one.tags for one in seen):
            raise NothingLearned(f"no photo with a tag could be read ({lost} are unreadable); no weights were written")
        tags = torch.zeros(len(seen), network.n_classes)
        for row, one in zip(tags, seen, strict=True):
            row[list(one.tags)] = 1
        first = image_discriminant(torch.stack([one.flat.mean(1) for one in seen]), tags)
        second = region_discriminant(seen, first, network.n_classes)
        assert network.reclassifier is not None
        for conv, rows in ((network.classifier, first), (network.reclassifier, second)):
            conv.weight.copy_(rows[:, :, None, None])

    def _thresholds(self, photos: list[int]) -> None:
        """Background thresholds without masks, as `refine --threshold auto` chooses them, for the weights' card."""
        methods: dict[str, MapMethod] = {"first": LinearMaps("first"), RULE: LinearMaps(RULE)}
        methods["cpmc"] = Cpmc(recommended=RULE)
        curves: dict[str, list[np.ndarray]] = {name: [] for name in methods}
        for photo, pixels in self.looker.pixels([photos[i] for i in spread(len(photos), FOR_THRESHOLDS)]):
            if isinstance(pixels, str):
                continue
            for name, method in methods.items():
                found = photo_agreement(pixels.numpy(), self._scores(method, pixels, self.looker.tags(photo)))
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
        index = torch.tensor([tags], device=self.device)
        views = [pixels[None].to(self.device)]
        maps = multiscale_maps(self.looker.network, method, views, index, index >= 0, size=size, amp=self.amp)
        return ScoreMap(tuple(tag + 1 for tag in tags), maps[0].cpu().numpy(), size, 4)

    def _validate(self, done: int) -> Measured | None:
        if self.measure is None or not self.team.first:
            return None
        result = self.measure(self.network, device=self.device, amp=self.amp)
        if result is not None:
            self.lead.info(result.told())
            Log(self.run / LOG, from_step=0).write(step=done, epoch=1, **result.facts())
        return result
