"""Refiners: scores and the photo in, better scores out.

A refiner is one file and one line in `REFINERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from pseudomask.config import RefineConfig
from pseudomask.devices import pick_device
from pseudomask.refining.crf import Crf
from pseudomask.refining.pamr import Pamr
from pseudomask.refining.refiner import Refiner
from pseudomask.refining.walk import Walk


def _crf(config: RefineConfig) -> Refiner:
    return Crf.of(config, str(pick_device(config.device)))


def _pamr(config: RefineConfig) -> Refiner:
    return Pamr(
        config.pamr_iterations,
        config.pamr_dilations,
        config.pamr_softness,
        config.pamr_side,
        str(pick_device(config.device)),
    )


def _walk(config: RefineConfig) -> Refiner:
    return Walk.of(config, str(pick_device(config.device)), config.seeds)


REFINERS: dict[str, Callable[[RefineConfig], Refiner]] = {
    "crf": _crf,
    "pamr": _pamr,
    "walk": _walk,
}
"""Name → the refiner with its settings. The function raises where settings, weights or a package are amiss."""
