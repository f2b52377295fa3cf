"""The verb `extract`: everything is checked first, then photos flow through, each done image on disk."""

from __future__ import annotations

from dataclasses import replace

from pseudomask.config import ExtractConfig
from pseudomask.extracting.filling import fill
from pseudomask.extracting.plan import make_plan
from pseudomask.extracting.refinement import MakeRefinement, no_refinement
from pseudomask.extracting.result import ExtractResult
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter, SilentReporter


def extract(
    config: ExtractConfig, reporter: Reporter | None = None, refining: MakeRefinement = no_refinement
) -> ExtractResult:
    """See `pseudomask.extract`; `refining` makes the refiners that `config.refine` names."""
    reporter = reporter or SilentReporter()
    plan = make_plan(config, ranks().once(reporter))
    plan = replace(plan, refinement=refining(plan))
    return fill(plan, plan.result(), reporter, "extracting")
