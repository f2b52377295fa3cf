"""How well a classifier predicts the tags of held-out photos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudomask.data.decoding import decode
from pseudomask.data.pixels import resize, with_long_side
from pseudomask.data.reading import AS_IT_COMES, Reading
from pseudomask.errors import ImageError
from pseudomask.extracting.transfers import send
from pseudomask.measuring.average_precision import (
    average_precision,
    best_f1_threshold,
    chance_precision,
    lucky_precision,
)
from pseudomask.measuring.counting import in_order
from pseudomask.networks.network import CamNetwork
from pseudomask.quoting import count
from pseudomask.running.helpers import lower_thread_priority
from pseudomask.training.losses import classification_loss

MAX_SIDE = 640
"""Photos are used whole, downscaled to at most this long side, as `extract` does at scale 1."""

LEAST_CONFIDENCE = 0.3
"""Lower limit of tag thresholds, however few photos they are chosen on."""

_ENOUGH = 20
"""Number of held-out photos from which an average precision at chance level is meaningful."""

LEAST = 3
"""With fewer photos that show a class, or that do not, its average precision means nothing."""


@dataclass(frozen=True)
class Validation:
    """Measures on held-out photos; also the interface for other kinds of networks (`measured.Measured`).

    Attributes:
        loss: mean binary cross-entropy.
        precision: average precision by class name; classes without a positive photo are left out.
        tag_thresholds: (C,) the probability of the best F1 per class, where the held-out photos show the
            class at least twice, else 0.5; never below `LEAST_CONFIDENCE`.
        photos: how many could be read.
        chance: the average precision to expect of a random order, by class name; classes that all photos show, or
            none, are left out.
        positive: how many photos show each of the classes in `precision`.
        dead: every logit is exactly 0, whatever the photo.
    """

    loss: float
    precision: dict[str, float]
    tag_thresholds: tuple[float, ...]
    photos: int = 0
    chance: dict[str, float] = field(default_factory=dict)
    positive: dict[str, int] = field(default_factory=dict)
    dead: bool = False

    @property
    def mean_precision(self) -> float:
        """Mean over the classes that have an average precision; NaN if there are none."""
        return float(np.mean(list(self.precision.values()))) if self.precision else math.nan

    @property
    def mean_chance(self) -> float:
        """What a random order reaches on average, over the same classes; NaN if there are none."""
        levels = [self.chance.get(name, 1.0) for name in self.precision]
        return float(np.mean(levels)) if levels else math.nan

    @property
    def too_few(self) -> tuple[str, ...]:
        """Classes whose precision says nothing: fewer than `LEAST` photos show them, or do not; or one random order in
        twenty reaches it, and the photos are so few that such luck comes more than half the way from chance to 1."""
        return tuple(name for name, reached in self.precision.items() if self._by_luck(name, reached))

    def _by_luck(self, name: str, reached: float) -> bool:
        positive = self.positive.get(name, 0)
        if enough_to_tell(self.photos, positive):
            return False
        few = not LEAST <= positive <= self.photos - LEAST
        return few or reached <= lucky_precision(self.photos, positive)

    def told(self) -> str:
        """One line for people."""
        if not self.precision:
            return f"held-out loss {self.loss:.4f} on {self.photos} photos, none of which shows a class"
        text = (
            f"held-out loss {self.loss:.4f}, mean average precision {self.mean_precision:.3f} (by chance "
            f"{self.mean_chance:.3f}) on {self.photos} photos"
        )
        few = self.too_few
        return text if not few else f"{text}; too few to tell" + ("" if len(few) == len(self.precision) else _some(few))

    def facts(self) -> dict[str, Any]:
        """For the log: what `told` says, by class."""
        return {
            "val_loss": round(self.loss, 6),
            "val_map": round(self.mean_precision, 4),
            "val_ap": {name: round(value, 4) for name, value in self.precision.items()},
            "val_chance": {name: round(value, 4) for name, value in self.chance.items()},
            "val_photos": {"all": self.photos, **self.positive},
            "val_too_few": list(self.too_few),
        }

    @property
    def guessing(self) -> float:
        """The loss of guessing."""
        return math.log(2)

    def measured(self) -> dict[str, Any]:
        """For `TrainingResult`."""
        return {
            "held_out_loss": round(self.loss, 4),
            "held_out_precision": round(self.mean_precision, 3),
            "held_out_chance": round(self.mean_chance, 3),
            "held_out_classes": len(self.precision),
            "held_out_too_few": len(self.too_few),
        }

    def on_card(self, photos: Mapping[str, int]) -> list[dict[str, Any]]:
        """For the weights' card; `photos` of each class that were held out."""
        if not self.precision:
            return []
        by_class = {
            name: {"precision": round(self.precision[name], 4), "chance": round(level, 4), "photos": photos[name]}
            for name, level in self.chance.items()
        }
        return [
            {
                "what": "mean average precision of the tags",
                "value": round(self.mean_precision, 4),
                "chance": round(self.mean_chance, 4),
                "protocol": f"{count(self.photos, 'held-out photo')}, {count(len(self.precision), 'class')}",
                "classes": by_class,
                "too_few_to_tell": list(self.too_few),
            }
        ]

    def doubts(self) -> list[str]:
        """Reasons to doubt the weights, one line each."""
        if not self.chance or self.photos < _ENOUGH:
            return []
        reached = float(np.mean([self.precision[name] for name in self.chance]))
        level = float(np.mean(list(self.chance.values())))
        if reached > level:
            return []
        return [
            f"on {self.photos} held-out photos the classifier is no better than chance (mean average precision "
            f"{reached:.3f}, by chance {level:.3f}): masks made with it will be useless"
        ]


def enough_to_tell(photos: int, positive: int) -> bool:
    """Whether the average precision of a class on held-out photos says something, however low it is.

    Args:
        positive: how many of the photos show the class.
    """
    if not LEAST <= positive <= photos - LEAST:
        return False
    return lucky_precision(photos, positive) <= (1 + chance_precision(photos, positive)) / 2


def _some(names: Sequence[str], most: int = 8) -> str:
    rest = f" and {len(names) - most} more (log.jsonl lists all)" if len(names) > most else ""
    return f" for {', '.join(names[:most])}{rest}"


def whole_photo(path: Path, reading: Reading = AS_IT_COMES) -> Tensor | None:
    """A whole photo, (h, w, 3) uint8; None if it cannot be read."""
    try:
        image = decode(path, reading=reading)
    except ImageError:
        return None
    size = image.shape[:2]
    if max(size) > MAX_SIDE:
        image = resize(image, with_long_side((size[0], size[1]), MAX_SIDE))
    return torch.from_numpy(image)


@torch.inference_mode()
def validate(
    network: CamNetwork,
    paths: Sequence[Path],
    tags: np.ndarray,
    classes: Sequence[str],
    *,
    device: torch.device,
    amp: torch.dtype | None,
    workers: int = 0,
    reading: Reading = AS_IT_COMES,
) -> Validation | None:
    """Measure on photos, one at a time at their own size; None if none can be read.

    Args:
        tags: (N, C) float32 of 0 and 1.
        workers: threads that decode ahead.
    """
    was_training = network.training
    network.eval()
    rows, kept = [], []
    # Threads, not processes: a fork during training would copy locks held by other threads.
    threads = workers + 1 if workers else 0  # of one alone `in_order` makes none
    whole = partial(whole_photo, reading=reading)
    for i, image in enumerate(in_order(whole, paths, threads, lower_thread_priority)):
        if image is None:
            continue
        x = network.backbone.normalisation.to_input(send(image[None], device), amp)  # (1, 3, h, w)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            rows.append(network(x).float()[0])
        kept.append(i)
    network.train(was_training)
    if not rows:
        return None
    logits, truth = torch.stack(rows).cpu(), tags[kept]  # fetched at once: a GPU need not wait for each photo
    loss = classification_loss(logits, torch.from_numpy(truth)).item()
    if not math.isfinite(loss):  # as for any non-finite logit
        return Validation(math.nan, {}, (0.5,) * len(classes))
    probability = logits.sigmoid().double().numpy()
    scores = average_precision(probability, truth)
    return Validation(
        loss=loss,
        precision={name: float(s) for name, s in zip(classes, scores, strict=True) if not math.isnan(s)},
        tag_thresholds=tuple(_tag_threshold(probability[:, c], truth[:, c]) for c in range(len(classes))),
        photos=len(kept),
        chance={
            name: chance_precision(len(kept), int(n))
            for name, n in zip(classes, truth.sum(0), strict=True)
            if 0 < n < len(kept)
        },
        positive={name: int(n) for name, n in zip(classes, truth.sum(0), strict=True) if n},
        dead=not bool(logits.any()),
    )


def _tag_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    if truth.sum() < 2:
        return 0.5
    return max(LEAST_CONFIDENCE, round(best_f1_threshold(probability, truth), 4))
