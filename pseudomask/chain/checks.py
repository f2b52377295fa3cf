"""Find mistakes before the first step runs, even in steps whose inputs do not exist yet."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pseudomask.chain.steps import Chain, Step
from pseudomask.config import ReactivateConfig, TrainingOptions
from pseudomask.config.roles import deciding
from pseudomask.errors import DeviceError, UsageError
from pseudomask.suggest import did_you_mean


def check_inputs(step: Step, made: set[Path]) -> None:
    """Raise `UsageError` for a missing file or folder that no earlier step makes (`made`)."""
    for name in deciding(type(step.config), roles=("place",)):
        value = getattr(step.config, name)
        if name == step.verb.writes or not isinstance(value, Path) or value.resolve() in made:
            continue
        if name in ("list", "val_list") and str(value) == "-":
            raise UsageError(f"{step.label}: a list from standard input can be read only once; give a file")
        if not value.exists() and not _names_weights(name, value):
            raise UsageError(f"{step.label}: {name.replace('_', '-')} {value}: no such file or folder")
    if step.verb.name == "evaluate":
        _check_evaluate(step)


def _names_weights(setting: str, value: Path) -> bool:
    """Whether a value names weights that come with pseudomask or that it downloads, not a file."""
    from pseudomask.networks.store import NAMED

    return (setting in ("weights", "backbone_weights") and str(value) in NAMED) or (
        setting == "backbone_weights" and str(value) == "torchvision"
    )


def check_later(step: Step) -> None:
    """Raise the errors that the step would raise at its start, if they do not depend on earlier steps."""
    try:
        _check(step)
    except (UsageError, DeviceError) as error:
        raise named(error, step) from error


def named(error: Any, step: Step) -> Any:
    """The error with the step's name before its message."""
    error.args = (f"{step.label}: {error}", *error.args[1:])
    return error


def _check(step: Step) -> None:
    config = step.config
    if hasattr(config, "device"):
        from pseudomask.devices import pick_device

        pick_device(config.device)
    if step.verb.trains:
        _ = config.sides
    if isinstance(config, TrainingOptions):
        from pseudomask.training.reactivate import settled
        from pseudomask.training.split import gather

        split = gather(config)
        if isinstance(config, ReactivateConfig):
            settled(config, split.training)
    elif step.verb.name == "extract":
        from pseudomask.data.collection import collect
        from pseudomask.extracting.setup import refuse_auto
        from pseudomask.extraction import check_chain
        from pseudomask.maps import check_method
        from pseudomask.maps.cams import check_cam
        from pseudomask.maps.passes import passes
        from pseudomask.running.layout import plan_outputs

        passes(config)
        refuse_auto(config)
        if config.method is not None:
            check_method(config.method)
        if config.cam is not None:
            check_cam(config.cam)
        check_chain(config)
        plan_outputs(collect(config.images, config, exclude=config.out).items, config.images, config.out)
    elif step.verb.name == "refine":
        from pseudomask.refining.refine import check_methods

        check_methods(config)


def _check_evaluate(step: Step) -> None:
    from pseudomask.measuring.coco_truth import is_instances
    from pseudomask.running.listing import find_files

    try:
        if drawn := is_instances(step.config.gt):
            facts = step.config.gt.stat()
            _read_instances(step.config.gt, facts.st_mtime_ns, facts.st_size)
        there = drawn or find_files(step.config.gt, ".png")
    except UsageError as error:
        raise named(error, step) from error
    if not there:
        raise UsageError(f"{step.label}: {step.config.gt}: no truth mask (.png) found")
    if step.config.sweep and step.config.threshold is not None:
        raise UsageError(f"{step.label}: `sweep` and `threshold` cannot be combined; give one of them")


@lru_cache
def _read_instances(path: Path, changed: int, size: int) -> None:
    """Raise the errors of a file of true masks, once for all evaluations: the last of them may be days away."""
    from pseudomask.measuring.coco_truth import read_coco_truth

    read_coco_truth(path, None, "ignore", 255)


def window(chain: Chain, first: str | None, last: str | None) -> tuple[Step, ...]:
    """The steps from `first` to `last`, each a step's label or a verb.

    Raises `UsageError` if there is no such step, or none between the two.
    """
    begin = 0 if first is None else _positions(first, "--from", chain)[0]
    end = len(chain.steps) - 1 if last is None else _positions(last, "--until", chain)[-1]
    if begin > end:
        raise UsageError(f"--from {first} comes after --until {last}, so there is nothing to do")
    return chain.steps[begin : end + 1]


def _positions(name: str, flag: str, chain: Chain) -> list[int]:
    found = [i for i, step in enumerate(chain.steps) if name in (step.label, step.verb.name)]
    if not found:
        labels = [step.label for step in chain.steps]
        raise UsageError(
            f"{flag} {name}: no such step in {chain.file}{did_you_mean(name, labels)}; it has {', '.join(labels)}"
        )
    return found


def ready(config: Any, **changes: Any) -> Any:
    """The config with those changes that apply to its settings."""
    return replace(config, **{name: value for name, value in changes.items() if hasattr(config, name)})
