"""`pseudomask reactivate IMAGES RUN`."""

from __future__ import annotations

from pseudomask.cli.help import GROUPS
from pseudomask.cli.verb import Result, Verb, extract_next, weights_file
from pseudomask.config import ReactivateConfig
from pseudomask.running.reporter import Reporter


def run(config: ReactivateConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.reactivate(config, reporter)


VERB = Verb(
    name="reactivate",
    config=ReactivateConfig,
    help="Train ReCAM's second classifier on top of train-cls's weights.",
    run=run,
    next=extract_next,
    data=weights_file,
    shared=True,
    group=GROUPS[2],
)
