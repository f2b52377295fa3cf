"""Refiners: scores and the photo in, better scores out.

A refiner is a file here, its settings a file in `pseudomask.config.refiners`, which holds the list of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

from pseudomask.config import RefineConfig
from pseudomask.config.refiners import NAMES
from pseudomask.errors import UsageError
from pseudomask.refining.refiner import Refiner
from pseudomask.suggest import did_you_mean


def _make(name: str, config: RefineConfig) -> Refiner:
    from pseudomask.devices import pick_device

    refiner: Refiner = import_module(f"pseudomask.refining.{name}").make(config, str(pick_device(config.device)))
    return refiner


REFINERS: dict[str, Callable[[RefineConfig], Refiner]] = {name: partial(_make, name) for name in NAMES}
"""Name → the refiner with its settings. The function raises where settings, weights or a package are amiss."""


def check_names(names: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """`names`, each a refiner's. Raises `UsageError` for one that is not; `flag` is where it was given."""
    for name in names:
        if name not in REFINERS:
            raise UsageError(f"{flag} {name!r} must be one of {', '.join(REFINERS)}{did_you_mean(name, REFINERS)}")
    return names
