"""What each setting affects, declared at its field by `option(..., role=…, of=…, before=…)`.

Resuming, later steps and chains all need to know whether a changed setting changes the result.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any, Literal

Role = Literal["result", "masks", "machine", "free", "place"]
"""`result`: changes the result. `masks`: changes the mask files, but no score. `machine`: where numbers are computed,
which changes their last bits; it may vary between photos, but not within a training. `free`: changes nothing.
`place`: names a file or a selection of photos, or says how to read it; the content is compared instead."""


def role_of(field: dataclasses.Field[Any]) -> Role:
    role: Role = field.metadata.get("role", "result")
    return role


def deciding(
    config: type, methods: Collection[str] | None = None, roles: Collection[str] = ("result", "masks")
) -> list[str]:
    """Names of the settings that have one of `roles`.

    Args:
        methods: the methods that run; settings that belong only to other methods are left out. None means all methods.
    """
    return [
        field.name
        for field in dataclasses.fields(config)
        if role_of(field) in roles
        and (methods is None or not (of := field.metadata.get("of", ())) or any(name in of for name in methods))
    ]


def defaults(config: type) -> dict[str, Any]:
    """Each setting's default as JSON represents it; settings without a default are left out.

    Where a default has changed, this is the former one (`before`), which applies to records without the setting.
    """
    found = {field.name: field.metadata.get("before", field.default) for field in dataclasses.fields(config)}
    return {
        name: json.loads(json.dumps(value, default=str))
        for name, value in found.items()
        if value is not dataclasses.MISSING
    }


def changed(told: Mapping[str, Any], config: type, names: Collection[str]) -> dict[str, Any]:
    """The recorded settings (`told`) that are in `names` and differ from their defaults.

    This makes records of different versions comparable even if one version lacks some settings.
    """
    usual = defaults(config)
    return {name: told[name] for name in names if name in told and (name not in usual or told[name] != usual[name])}
