"""The training loop: schedule, mixed precision, guard, log, checkpoint, resume, early stopping."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from pseudomask.errors import PseudomaskError
from pseudomask.quoting import count
from pseudomask.running.reporter import Progress
from pseudomask.training.base import BaseTrainer
from pseudomask.training.early import BEST, EarlyStop, load_best, save_best
from pseudomask.training.guard import Guard
from pseudomask.training.loading import Batch, load_batches
from pseudomask.training.measured import Measured
from pseudomask.training.result import Trained
from pseudomask.training.samples import batch_plan
from pseudomask.training.schedule import check_start, learning_rate_factor
from pseudomask.training.state import LOG, Log, load_state, save_state
from pseudomask.training.team import WithLoss, agree, averaged, joined, split

LOG_EVERY = 10


class Trainer(BaseTrainer):
    """Takes optimizer steps on random crops of the photos.

    Everything random follows from `options.seed`; the state on disk (weights, momenta, step) is all that
    a resumed run needs to end bit for bit where the uninterrupted one would. Of several processes (`ranks`) each has a
    share of every step's photos; the first validates and writes.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        learner, options = self.learner, self.options
        self.step = joined(WithLoss(self.network, learner.loss), self.team, self.device)
        self.optimizer = torch.optim.SGD(
            [{"params": [p for p in g.parameters if p.requires_grad], "lr": g.lr} for g in learner.groups],
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)
        self.plan = batch_plan(options.seed, options.epochs, len(self.crops), options.batch_size)
        self.shares = split(self.plan, self.team)
        self.per_epoch = len(self.plan) // options.epochs
        self.unreadable: set[str] = set()
        self.lost: set[int] = set()
        self.guard = Guard(self.network, self.optimizer, self.scaler, options, self.amp, len(self.plan))
        self.end = len(self.plan)  # the step after which it is finished
        self.early = EarlyStop()

    def train(self) -> Trained:
        """Run all steps that are left; a stop request ends it early.

        Raises `TrainingDiverged`, and `NothingLearned` where no photo taught the network anything; the last sound
        checkpoint stays.
        """
        self.early.patience = self.patience if self.options.epochs > self.patience else 0
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
                parts = self._step(done, images, tags, weight if self.learner.mean_of_photos else 1.0, seen)
                done += 1
                self._report(done, parts, log, progress, started, first)
                if done % self.per_epoch == 0:
                    validation = self._validate(done, done // self.per_epoch, log)
                stopping = self.stop.requested if self.team.alone else asked
                if done % self.per_epoch == 0 or done % self.options.checkpoint_every == 0 or stopping:
                    self._save(done, images, validation)
                if stopping or done == self.end:
                    break
        own = json.dumps([sorted(self.unreadable), sorted(self.lost)])
        for message in self.team.gather(own.encode(), self.stop):
            problems, numbers = json.loads(message)
            self.unreadable.update(problems)
            self.lost.update(numbers)
        taken = self._take_best() if self.early.over else done
        if first == self.end or taken != done:  # it is in the log already
            validation = self._validate(taken, taken // self.per_epoch, None)
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
            ended=self.end < len(self.plan),
            weights_step=taken,
        )

    def _take_best(self) -> int:
        """End early with the best weights; returns their step."""
        early = self.early
        if self.team.first and not load_best(self.run, self.network, early.step):
            self.reporter.warn(f"{self.run / BEST} cannot be used; the weights are those of the last epoch")
            return self.end
        self.lead.info(
            f"stopped early: the held-out loss did not fall for {count(early.waited, 'epoch')}; the weights are those "
            f"of epoch {early.step // self.per_epoch}"
        )
        return early.step

    def _save(self, done: int, images: Tensor, validation: Measured | None) -> None:
        """Write a checkpoint from which the training can resume."""
        self._must_be_sound(done, validation, images)
        self.guard.must_have_learned(done, len(self.unreadable))
        if self.team.first:
            self.before_saving()
            if self._is_best(done, validation):
                save_best(self.run, self.network, done)
            save_state(self.run, self.network, self.optimizer, done, self.scaler, self.guard.learning, self.early)
            if done % self.per_epoch == 0 and done < self.end:
                self.after_epoch(done, validation)
        self.guard.kept = done
        if self.early.patience:
            # Without `stop`: a process that did not wait would go on alone.
            self.early.resume(self.team.broadcast(self.early.to_text()))
            if self.early.over:
                self.end = done

    def _is_best(self, done: int, validation: Measured | None) -> bool:
        if not self.early.patience or validation is None or done % self.per_epoch:
            return False
        return self.early.see(done, validation.loss)

    def _must_be_sound(self, done: int, validation: Measured | None, images: Tensor | None) -> None:
        """Raise `TrainingDiverged`, in all processes."""
        last = done == self.end
        found = self.guard.fault(validation, images, last=last) if self.team.first else ""
        problem = self.team.broadcast(found, self.stop)
        if problem:
            raise self.guard.diverged(done, problem)

    def _resume(self) -> int:
        """Steps done. Raises `PseudomaskError` if the processes do not resume from the same checkpoint."""
        done, warning = load_state(self.run, self.network, self.optimizer, self.scaler, self.guard.learning, self.early)
        check_start(self.run, done, len(self.plan), self.options)
        self.guard.start(done)
        if self.options.finish or self.early.over:
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
        if done and not self.options.finish and done < self.end:
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
