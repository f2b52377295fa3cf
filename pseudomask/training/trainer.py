"""The loop that every training verb shares: schedule, mixed precision, guard, log, checkpoint, resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, Dataset

from pseudomask.config import ScheduleOptions, TrainAffinityConfig, TrainingOptions
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.errors import TrainingDiverged, UsageError
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.networks.network import CamNetwork
from pseudomask.running.reporter import Progress, Reporter
from pseudomask.running.signals import Stop
from pseudomask.training.samples import TrainingCrops, batch_plan
from pseudomask.training.state import LOG, Log, load_state, save_state
from pseudomask.training.validation import Validation, validate

AnyNetwork = CamNetwork | EdgeNetwork
LossFunction = Callable[[Any, Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
"""(network, images (B, 3, S, S), tags (B, C) or labels (B, h, w)) → the loss to descend, and parts for the log."""
Crops = Dataset[tuple[Tensor, Tensor, str]]
"""By (epoch, photo): the image, its tags or labels, and "" or what is wrong with it."""

LOG_EVERY = 10


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate."""

    parameters: list[Tensor]
    lr: float


@dataclass(frozen=True)
class TaggedPhotos:
    """Files of photos, and their tags, (N, C) float32 of 0 and 1."""

    paths: list[Path]
    tags: np.ndarray


def learning_rate_factor(step: int, total: int, *, power: float, warmup: int) -> float:
    """(1 − t/T)^power, times a linear rise over the first `warmup` steps."""
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return rise * (1 - step / total) ** power


def training_sides(options: ScheduleOptions) -> tuple[int, int]:
    """The range of the random long side: ReCAM's 320–640 for a crop of 512, in proportion.

    Raises `UsageError` where the smallest is above the largest.
    """
    low = options.min_side or max(16, round(0.625 * options.crop))
    high = options.max_side or round(1.25 * options.crop)
    if low > high:
        raise UsageError(f"--min-side {low} is above --max-side {high}; give both")
    return low, high


@dataclass
class Trained:
    """What a training loop came to."""

    steps: int
    total: int
    validation: Validation | None
    unreadable: int
    images_per_second: float

    @property
    def finished(self) -> bool:
        return self.steps >= self.total


class Trainer:
    """Trains one network on one set of photos, in `run`.

    Everything random follows from `options.seed`; the state on disk (weights, momenta, step) is all that
    a resumed run needs to end bit for bit where the uninterrupted one would.
    """

    def __init__(
        self,
        network: AnyNetwork,
        groups: Iterable[Group],
        loss: LossFunction,
        options: TrainingOptions | TrainAffinityConfig,
        *,
        classes: tuple[str, ...],
        photos: TaggedPhotos,
        held_out: TaggedPhotos,
        reporter: Reporter,
        stop: Stop,
        crops: Crops | None = None,
    ) -> None:
        self.options, self.run, self.reporter, self.stop = options, options.run, reporter, stop
        self.classes, self.photos, self.held_out, self.crops = classes, photos, held_out, crops
        self.device = pick_device(options.device)
        self.amp = pick_amp(options.amp, self.device)
        self.workers = pick_workers(options.workers)
        self.network: AnyNetwork = network.on(self.device)
        self.loss = loss
        self.optimizer = torch.optim.SGD(
            [{"params": [p for p in g.parameters if p.requires_grad], "lr": g.lr} for g in groups],
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)
        self.plan = batch_plan(options.seed, options.epochs, len(photos.paths), options.batch_size)
        self.unreadable: set[str] = set()

    def train(self) -> Trained:
        """Run all steps that are left. Raises `TrainingDiverged`; a stop request ends it early."""
        done, warning = load_state(self.run, self.network, self.optimizer, self.scaler)
        if warning:
            self.reporter.warn(warning)
        if done:
            self.reporter.info(f"going on from step {done} of {len(self.plan)}")
        log = Log(self.run / LOG, from_step=done)
        per_epoch = len(self.plan) // self.options.epochs
        validation = None
        self.network.train()
        started, first = time.monotonic(), done
        with self.reporter.progress(len(self.plan), "training", unit="steps") as progress:
            if done:
                progress.advance(done)
            for images, tags in self._batches(done):
                parts = self._step(done, images, tags)
                done += 1
                self._report(done, parts, log, progress, started, first)
                if done % per_epoch == 0:
                    validation = self._validate(done, done // per_epoch, log)
                if done % per_epoch == 0 or done % self.options.checkpoint_every == 0 or self.stop.requested:
                    save_state(self.run, self.network, self.optimizer, done, self.scaler)
                if self.stop.requested:
                    break
        if validation is None and done == len(self.plan):  # all steps were done before; so was the log's line
            validation = self._validate(done, self.options.epochs, None)
        return Trained(
            steps=done,
            total=len(self.plan),
            validation=validation,
            unreadable=len(self.unreadable),
            images_per_second=self._speed(done, started, first),
        )

    def _batches(self, done: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the steps that are left, on the device."""
        sides = training_sides(self.options)
        crops = self.crops or TrainingCrops(
            self.photos.paths, self.photos.tags, crop=self.options.crop, sides=sides, seed=self.options.seed
        )
        if done >= len(self.plan):
            return
        loader = DataLoader(
            crops,
            batch_sampler=self.plan[done:],
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_one_thread,
        )
        for images, tags, problems in loader:
            for problem in set(problems) - {""} - self.unreadable:
                self.unreadable.add(problem)
                self.reporter.warn(f"left out: {problem}")
            sound = torch.tensor([not problem for problem in problems])
            if sound.any() and not sound.all():  # with none left the step is made on the empty crops
                images, tags = images[sound], tags[sound]
            yield (
                images.to(self.device, non_blocking=True, memory_format=torch.channels_last),
                tags.to(self.device, non_blocking=True),
            )

    def _step(self, done: int, images: Tensor, tags: Tensor) -> dict[str, float]:
        """One descent; returns the numbers for the log."""
        options = self.options
        factor = learning_rate_factor(done, len(self.plan), power=options.power, warmup=options.warmup)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            loss, parts = self.loss(self.network, images, tags)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(clip_grad_norm_(trained, options.clip or math.inf))
        value = float(loss.detach())
        # With fp16 a gradient may overflow; the scaler then skips the step and lowers its scale.
        if not math.isfinite(value) or (not math.isfinite(norm) and not self.scaler.is_enabled()):
            raise TrainingDiverged(
                f"step {done + 1}: the {'loss' if not math.isfinite(value) else 'gradient'} is not a number; "
                f"lower --lr (now {options.lr:g}), or give --warmup 100 or --clip 1; "
                "the last checkpoint is as it was"
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return {"loss": value, **{k: float(v.detach()) for k, v in parts.items()}, "norm": norm, "lr_factor": factor}

    def _report(
        self, done: int, parts: dict[str, float], log: Log, progress: Progress, started: float, first: int
    ) -> None:
        speed = self._speed(done, started, first)
        progress.advance(1, loss=f"{parts['loss']:.3f}", images=f"{speed:.1f}/s")
        if done % LOG_EVERY == 0 or done == len(self.plan):
            log.write(step=done, **{k: round(v, 6) for k, v in parts.items()}, images_per_second=round(speed, 2))

    def _speed(self, done: int, started: float, first: int) -> float:
        return (done - first) * self.options.batch_size / max(time.monotonic() - started, 1e-9)

    def _validate(self, done: int, epoch: int, log: Log | None) -> Validation | None:
        if not self.held_out.paths or not isinstance(self.network, CamNetwork):
            return None
        result = validate(
            self.network,
            self.held_out.paths,
            self.held_out.tags,
            self.classes,
            device=self.device,
            amp=self.amp,
            workers=self.workers,
        )
        if result is None:
            return None
        if log is not None:
            log.write(
                step=done,
                epoch=epoch,
                val_loss=round(result.loss, 6),
                val_map=round(result.mean_precision, 4),
                val_ap={k: round(v, 4) for k, v in result.precision.items()},
            )
        self.reporter.info(
            f"epoch {epoch}: held-out loss {result.loss:.4f}, mean average precision {result.mean_precision:.3f}"
        )
        return result


def _one_thread(worker: int) -> None:
    """A decoder that took every core would fight the network for them."""
    torch.set_num_threads(1)
