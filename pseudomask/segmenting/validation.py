"""How well a segmentation network reproduces the masks of held-out photos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.data.decoding import decode
from pseudomask.data.pixels import resize, with_long_side
from pseudomask.data.reading import Reading
from pseudomask.errors import ImageError, UsageError
from pseudomask.extracting.transfers import Fetched, send
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import Confusion
from pseudomask.measuring.counting import in_order
from pseudomask.networks.segmenter import Segmenter
from pseudomask.quoting import count
from pseudomask.running.helpers import lower_thread_priority
from pseudomask.segmenting.crops import IGNORED, labels_of

_IGNORE = 65_535  # above every label


@dataclass(frozen=True)
class MaskValidation:
    """Measures against the masks of held-out photos, which are pseudo masks too.

    Attributes:
        loss: mean cross-entropy over their pixels.
        iou: IoU by name, background first; classes that neither masks nor predictions show are left out.
        photos: how many could be read; `of`: whose masks they are, for people.
    """

    loss: float
    iou: Mapping[str, float]
    photos: int
    of: str
    labels: int
    tag_thresholds: tuple[float, ...] = ()
    dead: bool = False

    @property
    def guessing(self) -> float:
        return math.log(self.labels)

    @property
    def mean_iou(self) -> float:
        return float(np.mean(list(self.iou.values()))) if self.iou else math.nan

    def told(self) -> str:
        against = f"with the masks of {count(self.photos, 'photo')}"
        return f"held-out loss {self.loss:.4f}, mean IoU {self.mean_iou:.3f} {against}"

    def facts(self) -> dict[str, Any]:
        rounded = {name: round(value, 4) for name, value in self.iou.items()}
        return {"val_loss": round(self.loss, 6), "val_miou": round(self.mean_iou, 4), "val_iou": rounded}

    def measured(self) -> dict[str, Any]:
        return {
            "held_out_loss": round(self.loss, 4),
            "held_out_miou": round(self.mean_iou, 3),
            "held_out_photos": self.photos,
        }

    def on_card(self, photos: Mapping[str, int]) -> list[dict[str, Any]]:
        return [
            {
                "what": "mean IoU with masks of the kind that it was trained on, not with true masks",
                "value": round(self.mean_iou, 4),
                "protocol": f"{count(self.photos, 'held-out photo')} of {self.of}",
                "iou": {name: round(value, 4) for name, value in self.iou.items()},
            }
        ]

    def doubts(self) -> list[str]:
        return []


@torch.inference_mode()
def validate_masks(
    network: Segmenter,
    paths: Sequence[Path],
    masks: Sequence[Path],
    classes: Sequence[str],
    *,
    side: int,
    of: str,
    device: torch.device,
    amp: torch.dtype | None,
    workers: int,
    reading: Reading,
) -> MaskValidation | None:
    """Measure on whole photos with a long side of `side` pixels; None if none can be read."""
    was_training = network.training
    network.eval()
    confusion, losses, pixels = Confusion(len(classes) + 1), list[Tensor](), 0
    before: tuple[Fetched, np.ndarray] | None = None  # counted while the device computes the next
    pairs = list(zip(paths, masks, strict=True))
    one_pair = partial(_pair, side=side, classes=len(classes), reading=reading)
    for found in in_order(one_pair, pairs, workers + 1 if workers else 0, lower_thread_priority):
        if found is None:
            continue
        image, labels = found
        x = network.backbone.normalisation.to_input(send(torch.from_numpy(image)[None], device), amp)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            logits = network(x).float()
        truth = send(torch.from_numpy(labels)[None].long(), device)
        losses.append(F.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="sum"))
        pixels += int((labels != IGNORED).sum())
        now = Fetched(logits[0].argmax(0).to(torch.int32)), labels
        _count(confusion, before)
        before = now
    _count(confusion, before)
    network.train(was_training)
    if not losses:
        return None
    loss = sum(torch.stack(losses).tolist())
    values = confusion.measures().iou.tolist()
    iou = {name: v for name, v in zip(("background", *classes), values, strict=True) if not math.isnan(v)}
    return MaskValidation(loss / max(pixels, 1), iou, len(losses), of, len(classes) + 1)


def _count(confusion: Confusion, one: tuple[Fetched, np.ndarray] | None) -> None:
    if one is not None:
        prediction, labels = one
        confusion.update(prediction.get().numpy(), np.where(labels == IGNORED, _IGNORE, labels), _IGNORE)


def _pair(
    pair: tuple[Path, Path], *, side: int, classes: int, reading: Reading
) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        image, labels = decode(pair[0], reading=reading), labels_of(load_mask(pair[1]), classes)
    except (ImageError, UsageError):
        return None
    size = with_long_side((image.shape[0], image.shape[1]), side)
    return resize(image, size), cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
