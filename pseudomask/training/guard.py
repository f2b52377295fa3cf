"""Detect a training that went wrong before anything of it is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from pseudomask.config import ScheduleOptions
from pseudomask.errors import NothingLearned, TrainingDiverged, UsageError, WeightsError
from pseudomask.quoting import count
from pseudomask.training.measured import Measured

EXPLODED = 1e4
"""Losses start at a few units at most, and never recover from this."""
_BAD = 10.0
"""A loss that is certainly wrong: guessing gives ln 2 = 0.69."""
_HARDLY = 1e-5
"""A part that changed by less than this share of its size is still random: fp16 cannot store less."""
_LEAST_SCALE = 1.0
"""At this loss scale gradients are unscaled: an overflow is not caused by the scale."""


def state_tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The content of a checkpoint: weights, buffers and momenta, by name."""
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items() if isinstance(value, Tensor)}
    return tensors


def broken(tensors: Mapping[str, Tensor]) -> str:
    """The name of the first tensor with NaN or infinity; "" if all are finite."""
    floating = (name for name, value in tensors.items() if value.is_floating_point())
    return next((name for name in floating if not bool(torch.isfinite(tensors[name]).all())), "")


class Learning:
    """Tracks which parameter groups have had no gradient yet, and so have learned nothing."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.groups = optimizer.param_groups
        self.asleep = {i for i, group in enumerate(self.groups) if group["lr"] and group["params"]}

    def step(self) -> None:
        """Call after a backward pass. Costs nothing once all groups had a gradient."""
        for i in list(self.asleep):
            if any(p.grad is not None and bool(p.grad.any()) for p in self.groups[i]["params"]):
                self.asleep.discard(i)

    def resume(self, asleep: Iterable[int]) -> None:
        self.asleep &= set(asleep)


class Guard:
    """Watches one training. A step costs two comparisons; weights are checked when a checkpoint is due.

    Attributes:
        kept: the step of the checkpoint in RUN, 0 for none.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        options: ScheduleOptions,
        amp: torch.dtype | None,
        steps: int,
    ) -> None:
        """Raises `UsageError` for a learning rate that would leave the newest part untrained."""
        if not optimizer.param_groups[-1]["lr"]:
            raise UsageError("with --lr-head 0 (or --lr 0) the new part would stay random; raise it")
        self.network, self.optimizer, self.scaler = network, optimizer, scaler
        self.options, self.amp = options, amp
        self.steps, self.per_epoch = steps, steps // options.epochs
        self.learning = Learning(optimizer)
        self.newest = optimizer.param_groups[-1]["params"]
        self.drawn = [p.detach().clone() for p in self.newest]
        self.skipped = 0  # steps whose gradient overflowed in fp16
        self.losses: list[float] = []  # the first and the last
        self.kept = 0

    def start(self, done: int) -> None:
        """Raises `WeightsError` for initial weights that cannot be trained."""
        self.kept = done
        if name := broken(state_tensors(self.network, self.optimizer)):
            raise WeightsError(f"the initial weights contain NaN or infinite values (in {name})")

    def step(self, step: int, loss: float, norm: float, *, seen: bool) -> None:
        """After the backward pass of `step`, before its descent; raises `TrainingDiverged`.

        `seen`: there was a photo to learn from.
        """
        if problem := _ruined("loss", loss):
            raise self.diverged(step, problem)
        self.losses = [*self.losses[:1], loss]
        if math.isfinite(norm):
            if seen:
                self.learning.step()
            return
        # With fp16 a gradient may overflow; the scaler then skips the step and lowers its scale.
        self.skipped += 1
        if not self.scaler.is_enabled() or self.scaler.get_scale() <= _LEAST_SCALE:
            raise self.diverged(step, "the gradient is not a number")

    @torch.no_grad()
    def fault(self, validation: Measured | None, images: Tensor | None, *, last: bool = False) -> str:
        """Why this state must not be saved as a checkpoint; "" if it may. Runs the network on `images` once more.

        `last`: no further step could mend it.
        """
        if broken(state_tensors(self.network, self.optimizer)):
            return "the loss and the weights are not numbers"
        if validation is not None and (problem := _ruined("held-out loss", validation.loss)):
            return problem
        if validation is not None and validation.dead:
            return "the network outputs 0 for every held-out photo; its features are dead"
        if last and (problem := self._went_wrong(validation)):
            return problem
        if images is None:
            return ""
        was_training = self.network.training
        self.network.eval()  # a look must not move the statistics of batch norm
        with torch.autocast(images.device.type, self.amp, enabled=self.amp is not None):
            answers = self.network(images)  # finite weights may be too large to be of use
        self.network.train(was_training)
        return _ruined("loss", float(answers.abs().mean(dtype=torch.float32)))

    def _went_wrong(self, validation: Measured | None) -> str:
        """Why finite weights are surely of no use; "" where they may be of some."""
        if validation is not None:
            told = f"the held-out loss is {validation.loss:.3g}, where guessing gives {validation.guessing:.2f}"
            return told if validation.loss > _BAD else ""
        return f"the loss {self._rise()}" if self._rise() else ""

    def _rise(self) -> str:
        rose = self.losses and self.losses[-1] > _BAD and self.losses[-1] > 10 * self.losses[0]
        return f"rose from {self.losses[0]:.3g} to {self.losses[-1]:.3g}" if rose else ""

    def diverged(self, step: int, problem: str) -> TrainingDiverged:
        """The error: what happened, when, what to change, and what is kept."""
        kept = f"the checkpoint of step {self.kept} is kept" if self.kept else "there is no checkpoint"
        epoch = (step - 1) // self.per_epoch + 1
        return TrainingDiverged(
            f"epoch {epoch}, step {step}: {problem}; {_advice(self.options, self.amp)}; no weights were written, {kept}"
        )

    def must_have_learned(self, step: int, unreadable: int) -> None:
        """Raise `NothingLearned` if whole epochs (with steps skipped in fp16: all) gave a group no gradient."""
        asleep, whole = self.learning.asleep, step % self.per_epoch == 0 and not self.skipped
        if step == self.steps and not asleep and self._change() < _HARDLY:
            raise NothingLearned(
                f"step {step}: the new part of the network is still random (it changed by {100 * self._change():.2g} "
                "%), because the updates were too small; raise --lr (or --lr-head), or give a shorter --warmup; no "
                "weights were written"
            )
        if not asleep or not (whole or step == self.steps):
            return
        if self.skipped:
            why = f"{self.skipped} gradients overflowed in fp16; give --amp bf16 or --amp off, or a lower --lr"
        elif unreadable:
            why = f"{count(unreadable, 'photo')} could not be read; repair or, with --list, leave out what is broken"
        else:
            why = "the loss gave it no gradient; check the tags and the loss weights"
        newest = len(self.optimizer.param_groups) - 1 in asleep
        what = "the new part of the network" if newest else "a part of the network"
        raise NothingLearned(f"step {step}: {what} has learned nothing: {why}; no weights were written")

    @torch.no_grad()
    def _change(self) -> float:
        """How far the newest parameters came from those drawn, as a share of their size."""
        pairs = list(zip(self.newest, self.drawn, strict=True))
        moved, size = (
            math.sqrt(sum(float(one.cpu().double().square().sum()) for one in many))
            for many in ([new - old for new, old in pairs], self.drawn)
        )
        return moved / size if size else math.inf if moved else 0.0

    def doubts(self, validation: Measured | None) -> list[str]:
        """Reasons to doubt weights without NaN, one line each."""
        found = []
        if self._rise():
            found.append(f"the loss {self._rise()}, although the held-out loss is low; lower --lr")
        found += validation.doubts() if validation is not None else []
        return found


def _ruined(what: str, value: float) -> str:
    if not math.isfinite(value):
        return f"the {what} is not a number"
    return f"the {what} has exploded (to {value:.3g})" if abs(value) > EXPLODED else ""


def _advice(options: ScheduleOptions, amp: torch.dtype | None) -> str:
    rates = {"--lr": options.lr, "--lr-head": getattr(options, "lr_head", None)}
    lower = " and ".join(f"{flag} (now {rate:g}, try {rate / 10:g})" for flag, rate in rates.items() if rate)
    exact = ", or --amp off" if amp is not None else ""
    return f"lower {lower}, or give --warmup 100, or --clip 1{exact}, together with --overwrite"
