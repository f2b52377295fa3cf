"""The background threshold of a folder of masks, read from its `run.json`."""

from __future__ import annotations

from collections.abc import Mapping


def made_threshold(config: object, protocol: object) -> tuple[float | None, str]:
    """The threshold that a folder's masks are its scores cut at, in [0, 1], and who chose it.

    `config` and `protocol` are those of the run record. A refiner may move the threshold of the seeds: `refine` then
    records that of its own masks as `scores_threshold`. (None, "") where the record tells no threshold.
    """
    told = protocol if isinstance(protocol, Mapping) else {}
    seeds = _share(config.get("threshold")) if isinstance(config, Mapping) else None
    value = _share(told["scores_threshold"]) if "scores_threshold" in told else seeds
    if value is None:
        return None, ""
    chosen = str(told.get("threshold_chosen", "given"))
    moved = seeds is not None and value != seeds
    return value, f"{chosen}, moved from {seeds:g} by {told.get('method', 'refine')}" if moved else chosen


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
