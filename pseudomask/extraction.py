"""The verb `extract` with its refiners: `extracting` makes the scores, `refining` the masks, each photo in one pass."""

from __future__ import annotations

from dataclasses import fields

from pseudomask.config import ExtractConfig, RefineConfig
from pseudomask.config.refiners import RefinerOptions
from pseudomask.extracting import extract as extracting
from pseudomask.extracting.plan import Plan
from pseudomask.extracting.refinement import Refinement
from pseudomask.extracting.result import ExtractResult
from pseudomask.networks.edge_weights import stands_on
from pseudomask.refining import REFINERS, check_names
from pseudomask.refining.work import refine_one, with_levels
from pseudomask.running.ranks import ranks
from pseudomask.running.record import hash_file
from pseudomask.running.reporter import Reporter


def extract(config: ExtractConfig, reporter: Reporter | None = None) -> ExtractResult:
    """Make a mask and scores for every photo of a folder (see `ExtractConfig`).

    With `refine` the masks are those that the verb `refine` would make from the scores, which stay unrefined.

    Raises `UsageError` and its kin before anything is written, `SetupError` when weights or device are
    missing, `PseudomaskError` when the disk fails. An unreadable photo only marks its manifest line; one whose
    refinement fails keeps the mask of its scores. With `dry_run` all is checked and nothing is made. Started by
    torchrun, it does this process's share of the photos and returns when all are done.
    """
    names = check_chain(config)
    if reporter is not None and config.affinity is not None and "walk" not in names:
        ranks().once(reporter).warn("--affinity has no effect without --refine walk")
    return extracting.extract(config, reporter, make_refinement)


def check_chain(config: ExtractConfig) -> tuple[str, ...]:
    """The refiners in turn; empty for `none`. Raises `UsageError` for a name that is no refiner."""
    return () if config.refine == ("none",) else check_names(config.refine, "--refine")


def make_refinement(plan: Plan) -> Refinement | None:
    """The refiners that a run asks for; None without. Raises what they raise where something is amiss or missing."""
    names = check_chain(plan.config)
    if not names:
        return None
    settings = _settings(plan)
    refiners = with_levels([REFINERS[name](settings) for name in names], plan.threshold, plan.collection.classes)
    return Refinement(
        names,
        refiners[-1].level,
        lambda photo, scores: refine_one(refiners, photo, scores, plan.threshold).scores,
        hash_file(settings.affinity) if settings.affinity is not None and "walk" in names else None,
    )


def _settings(plan: Plan) -> RefineConfig:
    """The refiners' settings as `refine` would have them."""
    config, weights = plan.config, plan.config.walk_weights
    if weights is None and config.affinity is not None and stands_on(config.affinity, plan.weights):
        weights = plan.weights
    shared = {one.name: getattr(config, one.name) for one in fields(RefinerOptions)} | {"walk_weights": weights}
    return RefineConfig(images=config.images, seeds=config.out, out=config.out, device=str(plan.device), **shared)
