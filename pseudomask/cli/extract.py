"""`pseudomask extract IMAGES OUT`."""

from __future__ import annotations

from pseudomask.cli.verb import Result, Verb, out_folder
from pseudomask.config import ExtractConfig
from pseudomask.running.reporter import Reporter


def run(config: ExtractConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.extract(config, reporter)


VERB = Verb(
    name="extract",
    config=ExtractConfig,
    help="Make masks and scores from photos.",
    run=run,
    data=out_folder,
    shared=True,
)
