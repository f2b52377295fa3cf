"""Refiners: scores and the photo in, better scores out.

A refiner is one file and one line in `REFINERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from pseudomask.config import RefineConfig
from pseudomask.refining.pamr import Pamr
from pseudomask.refining.refiner import Refiner


def _pamr(config: RefineConfig) -> Refiner:
    return Pamr(config.pamr_iterations, config.pamr_dilations, config.pamr_softness, config.pamr_side)


REFINERS: dict[str, Callable[[RefineConfig], Refiner]] = {
    "pamr": _pamr,
}
"""Name → the refiner with its settings. The function raises where settings, weights or a package are amiss."""
