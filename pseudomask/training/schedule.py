"""The learning-rate schedule, and trainings that resume with a different number of epochs or end early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pseudomask.config import ScheduleOptions
from pseudomask.errors import UsageError
from pseudomask.quoting import count


def learning_rate_factor(step: int, total: int, *, power: float, warmup: int) -> float:
    """(1 − t/T)^power, times a linear rise over the first `warmup` steps."""
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return rise * float((1 - step / total) ** power)


def epochs_for(steps: int, photos: int, batch_size: int, *, least: int) -> int:
    """As many passes over the photos as give this number of steps, at least `least`."""
    return max(least, -(-steps // max(photos // batch_size, 1)))


def planned(options: ScheduleOptions, photos: int) -> str:
    """How long the training is, for people."""
    return f"{count(options.epochs, 'epoch')} of {count(max(photos // options.batch_size, 1), 'step')}"


def check_start(run: Path, done: int, planned: int, options: ScheduleOptions) -> None:
    """Raise `UsageError` if a training of `planned` steps cannot resume or be finished from step `done`."""
    if options.finish and options.overwrite:
        raise UsageError("--finish keeps what --overwrite would remove; give one of them")
    if options.finish and not done:
        raise UsageError(f"{run}: there is no checkpoint that --finish could make weights of; leave it out to train")
    if done > planned and not options.finish:
        raise UsageError(
            f"{run}: {done} steps done are more than the {planned} of --epochs {options.epochs}; add --finish to end "
            "the training now, or --overwrite to start over"
        )


def changed_schedule(before: int, options: ScheduleOptions, done: int, per_epoch: int) -> str:
    """A line on how another number of epochs changes a training at step `done`; `before`: the epochs until now."""

    def factor(epochs: int) -> float:
        total = epochs * per_epoch
        return learning_rate_factor(min(done, total), total, power=options.power, warmup=options.warmup)

    return (
        f"--epochs was {before}, now {options.epochs}: from step {done} on, the learning rate falls to 0 over "
        f"{count(options.epochs * per_epoch, 'step')} in all, not {before * per_epoch:,} (next factor "
        f"{factor(options.epochs):.3f}, not {factor(before):.3f}); the result differs from that of a training with "
        f"--epochs {options.epochs} from its start"
    )


def schedules(old: dict[str, Any], epochs: int, done: int) -> list[dict[str, int]]:
    """The numbers of epochs in force, each with its last step, the present one last; [] if it never changed.

    Args:
        old: `protocol` and `config` of the record until now.
    """
    before = list(old["protocol"].get("schedules", []))
    last = old["config"].get("epochs", epochs)
    if before:
        before.pop()
    elif last == epochs:
        return []
    if last != epochs:
        before.append({"epochs": last, "until_step": done})
    return [*before, {"epochs": epochs}]
