"""The background threshold of a `refine` run, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pseudomask.config import RefineConfig
from pseudomask.errors import UsageError
from pseudomask.refining.auto_threshold import Look, choose, spread
from pseudomask.refining.seeds import Seeds
from pseudomask.refining.work import Job
from pseudomask.running.made import MadeFolder
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop
from pseudomask.running.workers import Lost, run_jobs
from pseudomask.scores import check_threshold

_CHOSEN = "chosen without truth"


class Chosen(NamedTuple):
    """The background threshold of the seeds' scores, and a description of its origin."""

    threshold: float
    source: str


def choose_threshold(
    config: RefineConfig,
    seeds: Seeds,
    jobs: Sequence[Job],
    workers: int,
    stop: Stop,
    reporter: Reporter,
) -> Chosen:
    """The given threshold, else that of SEEDS; `auto` examines a sample of photos, or reuses its earlier choice.

    Raises `UsageError` if no threshold is known or none can be found.
    """
    if config.threshold is None:
        if seeds.threshold is None:
            raise UsageError(f"{seeds.path}: no run.json with a threshold; give --threshold X or auto")
        return Chosen(seeds.threshold, f"that of SEEDS ({seeds.threshold_chosen})")
    if config.threshold != "auto":
        check_threshold(config.threshold)
        return Chosen(config.threshold, "given")
    begun = None if config.overwrite else MadeFolder(config.out).record
    if begun is not None and begun.command == "refine" and _is_chosen(begun.protocol):
        return Chosen(begun.protocol["threshold"], begun.protocol["threshold_chosen"])
    sample = [jobs[i] for i in spread(len(jobs), config.auto_sample)]
    look = Look(len(seeds.classes), config.max_pixels, config.allow_truncated)
    curves = _look(look, sample, workers, stop, reporter, "choosing the threshold")
    threshold = choose(curves) if not stop.requested else 0.5
    return Chosen(threshold, f"{_CHOSEN}, on {len(curves)} photos")


def _look(
    look: Look, sample: Sequence[Job], workers: int, stop: Stop, reporter: Reporter, label: str
) -> list[np.ndarray]:
    """Agreement curves of the usable photos in the sample; incomplete if `stop` is requested."""
    curves = {}
    with reporter.progress(len(sample), label) as progress:
        for position, curve in run_jobs(look, sample, workers, stop):
            if curve is not None and not isinstance(curve, Lost):
                curves[position] = curve
            progress.advance()
    # In photo order, so that the sum does not depend on which worker finishes first.
    return [curves[position] for position in sorted(curves)]


def _is_chosen(protocol: Mapping[str, Any]) -> bool:
    """Whether a record's threshold was chosen by `auto`."""
    source, value = protocol.get("threshold_chosen"), protocol.get("threshold")
    return isinstance(source, str) and source.startswith(_CHOSEN) and isinstance(value, float) and 0 <= value <= 1
