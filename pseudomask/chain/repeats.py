"""`run --seeds`: the steps that depend on chance are repeated with other seeds, each time below a folder of its own."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pseudomask.chain.steps import MARK, Chain, Step
from pseudomask.errors import UsageError

FOLDER = "repeat-"
_FILES = ("html", "csv", "markdown", "json_file")


def repeated(chain: Chain, seeds: int) -> Chain:
    """The chain, followed by its repetitions: trainings with their seed + 1, + 2, …, and all steps that
    use their results.

    The first is the chain itself, so that a finished one is only added to. Raises `UsageError` if nothing trains.
    """
    if seeds == 1:
        return chain
    chance = set[str]()
    for step in chain.steps:
        if step.verb.trains or chance & step.needs:
            chance.add(step.label)
    if not chance:
        raise UsageError(f"--seeds: no step of {chain.file} trains, so that each seed would give the same")
    steps = list(chain.steps)
    for number in range(1, seeds):
        moved = {path.resolve(): _moved(path, chain.out, number) for path in _written(chain, chance)}
        steps += [_repeat(step, number, moved, chance) for step in chain.steps if step.label in chance]
    return replace(chain, steps=tuple(steps))


def _written(chain: Chain, chance: set[str]) -> set[Path]:
    """What the steps that depend on chance write."""
    found = set[Path]()
    for step in chain.steps:
        if step.label in chance:
            files = (getattr(step.config, name, None) for name in _FILES)
            found |= {step.output, step.verb.product(step.config), *(file for file in files if file is not None)}
    return found


def _moved(path: Path, out: Path, number: int) -> Path:
    """The path below the repetition's folder; beside its own where it is not below `out`."""
    name = f"{FOLDER}{number + 1}"
    full, root = path.resolve(), out.resolve()
    if full.is_relative_to(root):
        return out / name / full.relative_to(root)
    return path.parent / name / path.name


def _repeat(step: Step, number: int, moved: dict[Path, Path], chance: set[str]) -> Step:
    changes: dict[str, Any] = {}
    for one in fields(step.config):
        value = getattr(step.config, one.name)
        if isinstance(value, Path) and (path := moved.get(value.resolve())) is not None:
            changes[one.name] = path
    if step.verb.trains:
        changes["seed"] = step.config.seed + number
    return replace(
        step,
        label=_label(step.label, number),
        config=replace(step.config, **changes),
        needs=frozenset(_label(one, number) if one in chance else one for one in step.needs),
        repeat=number,
    )


def _label(label: str, number: int) -> str:
    return f"{label}{MARK}{number + 1}"
