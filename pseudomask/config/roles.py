"""What each setting decides: said at its field, by `option(..., role=…, of=…)`, and asked for here.

A run that is resumed, a later step of it and a chain all need to know whether a changed setting means another result.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any, Literal

Role = Literal["result", "masks", "machine", "free", "place"]
"""`result`: decides what is made. `masks`: decides the mask files, but no score. `machine`: where numbers are computed,
which moves their last bits: one photo is like the other, but a training stays on one. `free`: decides nothing.
`place`: names a file or a choice of photos, or says how it is read: what is found there is compared instead."""


def role_of(field: dataclasses.Field[Any]) -> Role:
    role: Role = field.metadata.get("role", "result")
    return role


def deciding(
    config: type, methods: Collection[str] | None = None, roles: Collection[str] = ("result", "masks")
) -> list[str]:
    """Names of the settings that have one of `roles`.

    methods: those that run: a setting that is `of` other methods only decides nothing. None: all of them run.
    """
    return [
        field.name
        for field in dataclasses.fields(config)
        if role_of(field) in roles
        and (methods is None or not (of := field.metadata.get("of", ())) or any(name in of for name in methods))
    ]


def defaults(config: type) -> dict[str, Any]:
    """Each setting's default as JSON holds it; settings without one are left out."""
    found = {field.name: field.default for field in dataclasses.fields(config)}
    return {
        name: json.loads(json.dumps(value, default=str))
        for name, value in found.items()
        if value is not dataclasses.MISSING
    }


def changed(told: Mapping[str, Any], config: type, names: Collection[str]) -> dict[str, Any]:
    """Those of the recorded settings `told` that are in `names` and not at their default.

    Two versions of this program agree in it where one has settings that the other does not know.
    """
    usual = defaults(config)
    return {name: told[name] for name in names if name in told and (name not in usual or told[name] != usual[name])}
