"""What PSEUDOMASK_* variables change of a chain's file: with them, a protocol is no longer that of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from pseudomask.chain.steps import Step
from pseudomask.config.roles import deciding
from pseudomask.config.settings import Setting
from pseudomask.config.sources import resolve, variables
from pseudomask.quoting import listed
from pseudomask.verbs import Verb


def overrides(
    verb: Verb,
    found: Sequence[Setting],
    environment: Mapping[str, str],
    given: Mapping[str, tuple[object, str]],
    config: Any,
) -> tuple[str, ...]:
    """`epochs 1` for each setting that can change the result and that a variable gives another value than the file."""
    some = {*deciding(verb.config, roles=("result", "masks", "place"))}
    by_variable = [one for one in found if one.name in some and any(map(environment.get, variables(verb.name, one)))]
    without = {one.name: one.default for one in fields(verb.config)}
    without |= resolve(verb.name, [one for one in by_variable if not one.required], {}, {}, given)
    changed = [one for one in by_variable if getattr(config, one.name) != without[one.name]]
    return tuple(f"{one.key} {_shown(getattr(config, one.name))}" for one in changed)


def told(steps: Sequence[Step]) -> list[str]:
    """One line on all steps' overrides; steps with the same are named together."""
    labels: dict[tuple[str, ...], list[str]] = {}
    for step in steps:
        if step.overrides and not step.repeat:
            labels.setdefault(step.overrides, []).append(step.label)
    parts = [f"{', '.join(some)}: {listed(changes, 20)}" for changes, some in labels.items()]
    return [f"PSEUDOMASK_* variables changed settings of the file: {'; '.join(parts)}."] if parts else []


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
