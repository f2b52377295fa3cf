"""The collection of processes that work together: one looks at the files, the others are told."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from pseudomask.config import LabelOptions
from pseudomask.data.collection import Collection, collect
from pseudomask.data.images import ImageItem, PassedOver
from pseudomask.running.ranks import Ranks


def collect_once(folder: Path, options: LabelOptions, team: Ranks, *, exclude: Path | None = None) -> Collection:
    """`collect` for processes that all need the same: the first one looks at the files and tells the others."""
    own: list[Collection] = []

    def look() -> dict[str, Any]:
        own.append(collect(folder, options, exclude=exclude))
        return {} if team.alone else _packed(own[0])

    told = team.by_first(look)
    return own[0] if own else _unpacked(told, folder)


def _packed(collection: Collection) -> dict[str, Any]:
    """As plain JSON."""
    plain = {one.name: getattr(collection, one.name) for one in fields(collection)}
    return plain | {
        "items": [(item.key, item.relative) for item in collection.items],
        "renamed": sorted(collection.renamed),
        "passed_over": [astuple(one) for one in collection.passed_over],
        "found": collection.found and _packed(collection.found),
    }


def _unpacked(told: dict[str, Any], folder: Path) -> Collection:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    tags = told["tags"]
    return Collection(
        **given
        | {
            "items": tuple(ImageItem(key, relative, folder) for key, relative in told["items"]),
            "tags": None if tags is None else {key: tuple(one) for key, one in tags.items()},
            "renamed": frozenset(told["renamed"]),
            "passed_over": tuple(PassedOver(*one) for one in told["passed_over"]),
            "found": told["found"] and _unpacked(told["found"], folder),
        }
    )
