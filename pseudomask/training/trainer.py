"""The loop that every training verb shares: schedule, mixed precision, guard, log, checkpoint, resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from pseudomask.config import TrainAffinityConfig, TrainingOptions, TrainSegConfig
from pseudomask.devices import pick_amp
from pseudomask.errors import PseudomaskError
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Progress, Reporter
from pseudomask.running.signals import Stop
from pseudomask.training.guard import Guard
from pseudomask.training.learner import AnyNetwork, Learner
from pseudomask.training.loading import Batch, load_batches
from pseudomask.training.measured import Measured
from pseudomask.training.result import Trained
from pseudomask.training.samples import Crops, batch_plan
from pseudomask.training.schedule import check_start, learning_rate_factor
from pseudomask.training.state import LOG, Log, load_state, save_state
from pseudomask.training.team import WithLoss, agree, averaged, joined, split

AnyOptions = TrainingOptions | TrainAffinityConfig | TrainSegConfig
Measure = Callable[..., Measured | None]
"""Called with the network, `device` and `amp`; measures on held-out photos."""

LOG_EVERY = 10


class Trainer:
    """Trains one network on one set of photos, in `run`.

    Everything random follows from `options.seed`; the state on disk (weights, momenta, step) is all that
    a resumed run needs to end bit for bit where the uninterrupted one would. Of several processes (`ranks`) each has a
    share of every step's photos; the first validates and writes.
    """

    def __init__(
        self,
        learner: Learner,
        options: AnyOptions,
        *,
        device: torch.device,
        crops: Crops,
        measure: Measure | None,
        reporter: Reporter,
        stop: Stop,
        mean_of_photos: bool = True,
    ) -> None:
        self.options, self.run, self.stop = options, options.run, stop
        self.team = ranks()
        self.reporter, self.lead = reporter, self.team.once(reporter)
        self.crops, self.measure, self.mean_of_photos = crops, measure, mean_of_photos
        self.device = device
        self.amp = pick_amp(options.amp, device)
        self.network: AnyNetwork = learner.network.on(device)
        self.step = joined(WithLoss(self.network, learner.loss), self.team, device)
        self.optimizer = torch.optim.SGD(
            [{"params": [p for p in g.parameters if p.requires_grad], "lr": g.lr} for g in learner.groups],
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp is torch.float16)
        self.plan = batch_plan(options.seed, options.epochs, len(crops), options.batch_size)
        self.shares = split(self.plan, self.team)
        self.per_epoch = len(self.plan) // options.epochs
        self.unreadable: set[str] = set()
        self.lost: set[int] = set()
        self.guard = Guard(self.network, self.optimizer, self.scaler, options, self.amp, len(self.plan))
        self.end = len(self.plan)  # the step after which it is finished
        self.before_saving: Callable[[], None] = lambda: None  # raises where RUN is another run's by now
        self.after_epoch: Callable[[int, Measured | None], None] = lambda done, validation: None

    def train(self) -> Trained:
        """Run all steps that are left; a stop request ends it early.

        Raises `TrainingDiverged`, and `NothingLearned` where no photo taught the network anything; the last sound
        checkpoint stays.
        """
        done = self._resume()
        log = Log(self.run / LOG, from_step=done) if self.team.first else None
        validation = None
        self.network.train()
        started, first = time.monotonic(), done
        loaded = self._load(done)  # before a display starts a thread: processes may be forked here
        label = f"training from step {done}" if done else "training"  # the forecast knows only this run's own steps
        with self.lead.progress(self.end - done, label, unit="steps") as progress:
            for images, tags, sound in self._batches(loaded, done):
                weight, asked = agree(sound, self.stop, self.team, self.device)
                seen = sound > 0 or weight == 0  # weight 0: others of the team have photos
                parts = self._step(done, images, tags, weight if self.mean_of_photos else 1.0, seen)
                done += 1
                self._report(done, parts, log, progress, started, first)
                if done % self.per_epoch == 0:
                    validation = self._validate(done, done // self.per_epoch, log)
                stopping = self.stop.requested if self.team.alone else asked
                if done % self.per_epoch == 0 or done % self.options.checkpoint_every == 0 or stopping:
                    self._save(done, images, validation)
                if stopping:
                    break
        own = json.dumps([sorted(self.unreadable), sorted(self.lost)])
        for message in self.team.gather(own.encode(), self.stop):
            problems, numbers = json.loads(message)
            self.unreadable.update(problems)
            self.lost.update(numbers)
        if first == self.end:  # all steps were done before; so was the log's line
            validation = self._validate(done, done // self.per_epoch, None)
            self._must_be_sound(done, validation, None)
        self.guard.must_have_learned(done, len(self.unreadable))
        return Trained(
            steps=done,
            total=len(self.plan),
            validation=validation,
            unreadable=len(self.unreadable),
            images_per_second=self._speed(done, started, first),
            lost=frozenset(self.lost),
            doubts=tuple(self.guard.doubts(validation)) if done == self.end else (),
            ended=self.options.finish,
        )

    def _save(self, done: int, images: Tensor, validation: Measured | None) -> None:
        """Write a checkpoint from which the training can resume."""
        self._must_be_sound(done, validation, images)
        self.guard.must_have_learned(done, len(self.unreadable))
        if self.team.first:
            self.before_saving()
            save_state(self.run, self.network, self.optimizer, done, self.scaler, self.guard.learning)
            if done % self.per_epoch == 0 and done < self.end:
                self.after_epoch(done, validation)
        self.guard.kept = done

    def _must_be_sound(self, done: int, validation: Measured | None, images: Tensor | None) -> None:
        """Raise `TrainingDiverged`, in all processes."""
        last = done == self.end
        found = self.guard.fault(validation, images, last=last) if self.team.first else ""
        problem = self.team.broadcast(found, self.stop)
        if problem:
            raise self.guard.diverged(done, problem)

    def _resume(self) -> int:
        """Steps done. Raises `PseudomaskError` if the processes do not resume from the same checkpoint."""
        done, warning = load_state(self.run, self.network, self.optimizer, self.scaler, self.guard.learning)
        check_start(self.run, done, len(self.plan), self.options)
        self.guard.start(done)
        if self.options.finish:
            self.end = self.guard.steps = done
        if self.options.warmup >= len(self.plan):
            long = f"--warmup {self.options.warmup} is as long as the whole training of {len(self.plan)} steps"
            self.lead.warn(f"{long}: the full learning rate is never reached")
        if warning:
            self.lead.warn(warning)
        steps = {int(message) for message in self.team.gather(str(done).encode(), self.stop)}
        if len(steps) > 1:
            raise PseudomaskError(
                f"{self.run}: the processes of this job found checkpoints of different steps ({min(steps)} and "
                f"{max(steps)}); RUN must be a folder shared by all machines"
            )
        if done and not self.options.finish:
            self.lead.info(f"resuming from step {done} of {len(self.plan)}")
        return done

    def _load(self, done: int) -> Iterator[Batch]:
        """The crops of this process's share of the steps that are left."""
        if done >= self.end:
            return iter(())
        return load_batches(self.crops, self.shares[done:], workers=self.options.workers, device=self.device)

    def _batches(self, loaded: Iterator[Batch], done: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """What was loaded from step `done` on, on the device, and how many of its photos are sound."""
        normalise = self.network.backbone.normalisation.to_input
        for (pixels, tags, problems), indices in zip(loaded, self.shares[done : self.end], strict=True):
            self.lost.update(photo for (_, photo), problem in zip(indices, problems, strict=True) if problem)
            for problem in set(problems) - {""} - self.unreadable:
                self.unreadable.add(problem)
                self.reporter.warn(f"skipped: {problem}")
            sound = torch.tensor([not problem for problem in problems])
            if sound.any() and not sound.all():  # with none left the step is made on the empty crops
                pixels, tags = pixels[sound], tags[sound]
            yield (
                normalise(pixels.to(self.device, non_blocking=True), self.amp),
                tags.to(self.device, non_blocking=True),
                int(sound.sum()),
            )

    def _step(self, done: int, images: Tensor, tags: Tensor, weight: float, seen: bool) -> dict[str, float]:
        """One descent; returns the numbers for the log.

        `weight`: of this process's loss among all; `seen`: some process has a photo.
        """
        options = self.options
        factor = learning_rate_factor(done, len(self.plan), power=options.power, warmup=options.warmup)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        # Dropout draws the same after a resume.
        torch.manual_seed((options.seed * 1_000_003 + done * self.team.world + self.team.rank) % 2**63)
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            loss, parts = self.step(images, tags)
        shown = averaged({"loss": loss.detach(), **parts}, weight, self.team)
        self.scaler.scale(loss * weight).backward()
        self.scaler.unscale_(self.optimizer)
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(clip_grad_norm_(trained, options.clip or math.inf))
        self.guard.step(done + 1, float(shown["loss"]), norm, seen=seen)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return {**{k: float(v) for k, v in shown.items()}, "norm": norm, "lr_factor": factor}

    def _report(
        self, done: int, parts: dict[str, float], log: Log | None, progress: Progress, started: float, first: int
    ) -> None:
        speed = self._speed(done, started, first)
        progress.advance(1, loss=f"{parts['loss']:.3f}", images=f"{speed:.1f}/s")
        if log is not None and (done % LOG_EVERY == 0 or done == len(self.plan)):
            log.write(step=done, **{k: round(v, 6) for k, v in parts.items()}, images_per_second=round(speed, 2))

    def _speed(self, done: int, started: float, first: int) -> float:
        """Photos a second; a batch holds fewer than asked for where there are fewer photos."""
        return (done - first) * len(self.plan[0]) / max(time.monotonic() - started, 1e-9)

    def _validate(self, done: int, epoch: int, log: Log | None) -> Measured | None:
        if not self.team.first or self.measure is None:
            return None
        result = self.measure(self.network, device=self.device, amp=self.amp)
        if result is None:
            return None
        if log is not None:
            log.write(step=done, epoch=epoch, **result.facts())
        self.reporter.info(f"epoch {epoch}: {result.told()}")
        return result
