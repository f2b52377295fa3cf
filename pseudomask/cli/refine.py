"""`pseudomask refine IMAGES SEEDS OUT`."""

from __future__ import annotations

from pseudomask.cli.verb import Result, Verb
from pseudomask.config import RefineConfig
from pseudomask.running.reporter import Reporter


def run(config: RefineConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.refine(config, reporter)


def where(config: RefineConfig, result: Result) -> list[str]:
    """The output folder, for the next command of a script."""
    return [] if config.dry_run else [str(config.out)]


VERB = Verb(
    name="refine",
    config=RefineConfig,
    help="Make masks follow the photos' edges.",
    run=run,
    data=where,
)
