"""The verb `extract` with its refiners: `extracting` makes the scores, `refining` the masks, each photo in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pseudomask.config import ExtractConfig, RefineConfig
from pseudomask.config.refiners import RefinerOptions
from pseudomask.errors import WeightsError
from pseudomask.extracting import extract as extracting
from pseudomask.extracting.refinement import Refinement
from pseudomask.extracting.result import ExtractResult
from pseudomask.extracting.setup import Setup
from pseudomask.networks.edge_weights import load_head, remember, stands_on, with_head
from pseudomask.networks.edges import EdgeHead, seen_in
from pseudomask.quoting import command
from pseudomask.refining import REFINERS, check_names
from pseudomask.refining.agreements import Agreements
from pseudomask.refining.refiner import BatchRefiner, Refiner, check_photos
from pseudomask.refining.walk import Walk, settled, sparse_at
from pseudomask.refining.work import LevelledRefiner, refine_together, with_levels
from pseudomask.running.quality import in_order_of_harm
from pseudomask.running.ranks import ranks
from pseudomask.running.record import hash_file
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.scores import ScoreMap


def extract(config: ExtractConfig, reporter: Reporter | None = None) -> ExtractResult:
    """Make a mask and scores for every photo of a folder (see `ExtractConfig`).

    The masks are those that the verb `refine` would make from the scores, which stay unrefined, by the refiners of
    `refine` or of the quality; with `refine=("none",)` they are the scores cut at the threshold.

    Raises `UsageError` and related errors before anything is written, `SetupError` when weights or device are
    missing, `PseudomaskError` when the disk fails. An unreadable photo only marks its manifest line; one whose
    refinement fails keeps the mask of its scores. With `dry_run` all is checked and nothing is made. Started by
    torchrun, it does this process's share of the photos and returns when all are done.
    """
    check_chain(config)
    lead = ranks().once(reporter or SilentReporter())
    agreements = Agreements()
    result = extracting.extract(config, reporter, partial(make_refinement, reporter=lead, agreements=agreements))
    result.doubts = in_order_of_harm([*result.doubts, *agreements.doubts(result.threshold, result.done)])
    return result


def check_chain(config: ExtractConfig) -> tuple[str, ...]:
    """The refiners asked for; empty for `none` and where none are named. Raises `UsageError` for an unknown one."""
    return () if config.refine == ("none",) else check_names(config.refine, "--refine")


def make_refinement(setup: Setup, reporter: Reporter, agreements: Agreements | None = None) -> Refinement | None:
    """The refiners of a run; None without. Raises what they raise where something is amiss or missing.

    `agreements`, if given, is shown some of the photos with their scores.
    """
    config = setup.config
    asked = check_chain(config) if config.refine else tuple(one for one in setup.usual_refiners if one != "none")
    if config.affinity is not None and "walk" not in asked:
        reporter.warn("--affinity has no effect without --refine walk")
    if not asked:
        return None
    remember(setup.weights, setup.network, setup.card)
    settings = _settings(setup)
    names = _possible(asked, setup, settings, reporter)
    refiners: list[Refiner] = [REFINERS[name](settings) for name in names]
    check_photos(refiners, setup.keyed_paths())
    head = _head(setup, settings) if "walk" in names and _shares_features(setup, settings) else None
    known = refiners if head is None else _knowing(refiners, [torch.zeros(head.planes, 8, 8)])
    levelled = with_levels(known, setup.threshold, setup.card.classes)
    if agreements is not None:
        agreements.choose([key for key, _ in setup.keyed_paths()])
    return Refinement(
        names,
        levelled[-1].level,
        partial(_refine, levelled, setup.threshold, agreements or Agreements()),
        None if head is None else partial(seen_in, head, amp=setup.amp),
        hash_file(settings.affinity) if settings.affinity is not None and "walk" in names else None,
        together=setup.device.type == "cuda" and all(map(_computes_there, refiners)),
    )


def _computes_there(refiner: Refiner) -> bool:
    """Whether a refiner leaves photos of a batch to a GPU, which takes as long to start one computation as many."""
    return isinstance(refiner, BatchRefiner) and getattr(refiner, "engine", "") != "pydensecrf"


def _refine(
    levelled: tuple[LevelledRefiner, ...],
    threshold: float,
    agreements: Agreements,
    keys: Sequence[str],
    photos: Sequence[np.ndarray],
    scores: Sequence[ScoreMap],
    found: Sequence[Tensor | None],
) -> list[ScoreMap]:
    for one in zip(keys, photos, scores, strict=True):
        agreements.see(*one)
    if any(one is not None for one in found):
        seen = [one if one is None else sparse_at(one) for one in found]
        known = _knowing([one.refiner for one in levelled], seen)
        levelled = tuple(replace(one, refiner=walk) for one, walk in zip(levelled, known, strict=True))
    return [one.scores for one in refine_together(levelled, photos, scores, threshold, keys)]


def _knowing(refiners: list[Refiner], seen: Sequence[Tensor | None]) -> list[Refiner]:
    return [replace(one, known=seen) if isinstance(one, Walk) else one for one in refiners]


def _settings(setup: Setup) -> RefineConfig:
    """The refiners' settings as `refine` would have them, with the boundary head that comes with pseudomask."""
    config = setup.config
    shared = {one.name: getattr(config, one.name) for one in fields(RefinerOptions)}
    shared["amp"] = "off" if config.amp == "int8" else config.amp  # a network of the walk's own has no ranges
    options = RefineConfig(images=config.images, seeds=config.out, out=config.out, device=str(setup.device), **shared)
    return settled(with_head(options, setup.weights), setup.method.walk_seeds, setup.card.classes)


def _possible(asked: tuple[str, ...], setup: Setup, settings: RefineConfig, reporter: Reporter) -> tuple[str, ...]:
    """The refiners for which these weights have what they need. `WeightsError` if --refine names another."""
    config = setup.config
    if "walk" not in asked or settings.affinity is not None:
        return asked
    train = ["train-affinity", config.images, "SEEDS", "RUN", "--labels", config.labels or "LABELS"]
    train += [] if config.weights is None else ["--weights", config.weights]
    better = f"`{command(*train)}` trains one for --affinity RUN/weights.safetensors"
    lacking = f"no boundary head comes with pseudomask for the backbone of {setup.weights.name}"
    if config.refine:
        raise WeightsError(f"--refine walk: {lacking}; {better}")
    left = tuple(name for name in asked if name != "walk") or ("crf",)
    reporter.warn(f"{lacking}, so masks are refined by {','.join(left)} alone; {better}, and better masks")
    return left


def _shares_features(setup: Setup, settings: RefineConfig) -> bool:
    """Whether the maps' network sees photos as the walk's would: then it need not run."""
    config, head = setup.config, settings.affinity
    return (
        head is not None
        and stands_on(head, setup.weights)
        and settings.walk_weights == setup.weights
        and config.walk_side == config.max_side
        and setup.whole_view is not None
        and not setup.method.gradients
    )


def _head(setup: Setup, settings: RefineConfig) -> EdgeHead:
    assert settings.affinity is not None
    return load_head(settings.affinity).to(setup.device)
