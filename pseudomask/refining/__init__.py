"""Refiners take a photo and its scores and return better scores.

Each refiner is a module here; its settings are a module in `pseudomask.config.refiners`, which also lists all refiners.
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
"""Name → factory of the configured refiner. It raises if settings are invalid or weights or a package are missing."""


def check_names(names: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """Return `names` if all are refiners, else raise `UsageError`; `flag` is the option they were given with."""
    for name in names:
        if name not in REFINERS:
            raise UsageError(f"{flag} {name!r} must be one of {', '.join(REFINERS)}{did_you_mean(name, REFINERS)}")
    return names
