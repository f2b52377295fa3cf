"""`pseudomask refine IMAGES SEEDS OUT`."""

from __future__ import annotations

from pseudomask.cli.verb import Result, Verb, out_folder
from pseudomask.config import RefineConfig
from pseudomask.running.reporter import Reporter


def run(config: RefineConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.refine(config, reporter)


VERB = Verb(
    name="refine",
    config=RefineConfig,
    help="Make masks follow the photos' edges.",
    run=run,
    data=out_folder,
    shared=True,
)
