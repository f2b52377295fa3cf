"""`pseudomask extract IMAGES OUT`."""

from __future__ import annotations

from pseudomask.cli.verb import Result, Verb
from pseudomask.config import ExtractConfig
from pseudomask.running.reporter import Reporter


def run(config: ExtractConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.extract(config, reporter)


def where(config: ExtractConfig, result: Result) -> list[str]:
    """The output folder, for the next command of a script."""
    return [] if config.dry_run else [str(config.out)]


VERB = Verb(
    name="extract",
    config=ExtractConfig,
    help="Make masks and scores from photos.",
    run=run,
    data=where,
)
