"""How `train-cls` begins: with a classifier in closed form, and with as many epochs as few photos need."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.config import TrainClsConfig
from pseudomask.data.collection import Collection
from pseudomask.data.survey import recorded_config
from pseudomask.networks.card import CLOSED
from pseudomask.networks.network import CamNetwork
from pseudomask.running.signals import Stop
from pseudomask.training.base import BaseTrainer
from pseudomask.training.closed_form import image_discriminant
from pseudomask.training.looking import Looker, choose_photos
from pseudomask.training.schedule import epochs_for
from pseudomask.training.state import steps_done

EPOCHS = 5
"""Passes over the photos, as in ReCAM's public code, where these are enough steps."""
FEW = 60
"""Photos a class up to which fine-tuning made worse masks than the closed form alone."""
FEW_TOLD = (
    f"most classes have at most {FEW} photos: with so few, --fit lda gave better masks than fine-tuning, and takes "
    "minutes (docs/training.md)"
)
_SCALES = torch.arange(1, 21) / 20


def settled(config: TrainClsConfig, training: Collection) -> TrainClsConfig:
    """With the number of epochs decided: that of the training in RUN, if there is one."""
    told = (None if config.overwrite else recorded_config(config.run)) or {}
    begun = bool(told) and told.get("fit", "sgd") == config.fit
    epochs = config.epochs
    if not epochs:
        before = told.get("epochs") if begun else None
        enough = epochs_for(config.min_steps, len(training.items), config.batch_size, least=EPOCHS)
        epochs = before if isinstance(before, int) and before > 0 else enough
    start = config.start if config.fit != CLOSED else TrainClsConfig.start  # without effect, so it decides nothing
    return replace(config, epochs=epochs, start=start)


def few(training: Collection) -> bool:
    """Whether most classes have so few photos that fine-tuning is unlikely to add to the closed form."""
    counts = [n for n in training.tag_counts().values() if n]
    return bool(counts) and median(counts) <= FEW


def from_closed_form(trainer: BaseTrainer, stop: Stop) -> None:
    """Replace the classifier's random rows by the linear discriminant of the frozen backbone's features.

    Rows of classes that no readable photo shows stay random. Of several processes the first computes for all.
    Does nothing if the training resumes from a checkpoint.
    """
    if steps_done(trainer.run):
        return
    network = trainer.network
    assert isinstance(network, CamNetwork)
    found = _rows(trainer, stop).tolist() if trainer.team.first else None
    rows = torch.tensor(trainer.team.broadcast(found, stop) or [], dtype=torch.float32)  # (C, D), or nothing
    if stop.requested or not len(rows):
        return
    with torch.no_grad():
        weight = network.classifier.weight
        known = rows.isfinite().all(1) & rows.any(1)
        weight[known.to(weight.device)] = rows[known, :, None, None].to(weight.device)


def _rows(trainer: BaseTrainer, stop: Stop) -> Tensor:
    """(C, D); (0,) if no photo with a tag can be read."""
    looker = Looker.of(trainer)
    looker.network.eval()
    chosen = choose_photos(looker.crops.tags, trainer.options.seed)
    seen = [
        (photo, features.flatten(1).float().mean(1))
        for photo, features in looker.look(chosen, trainer.lead, trainer.lead, stop)
        if features is not None
    ]
    if stop.requested or not seen:
        return torch.zeros(0)
    pooled = torch.stack([one for _, one in seen])
    tags = torch.from_numpy(looker.crops.tags[[photo for photo, _ in seen]])
    rows = image_discriminant(pooled, tags)
    return rows * calibrated(pooled @ rows.T, tags)[:, None]


def calibrated(logits: Tensor, tags: Tensor) -> Tensor:
    """The factor at most 1 by which each class's logits must be multiplied for the least cross-entropy, (C,).

    The discriminant's logits are 4 apart whatever the class; where photos with and without it overlap, that is too
    confident.

    Args:
        logits: (N, C).
        tags: (N, C) of 0 and 1.
    """
    scaled = logits[None] * _SCALES[:, None, None]
    losses = F.binary_cross_entropy_with_logits(scaled, tags.expand_as(scaled), reduction="none").mean(1)  # (20, C)
    return _SCALES[losses.argmin(0)]
