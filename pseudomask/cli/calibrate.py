"""`pseudomask calibrate IMAGES RUN`."""

from __future__ import annotations

from pseudomask.cli.help import GROUPS
from pseudomask.cli.verb import Result, Verb, extract_next, weights_file
from pseudomask.config import CalibrateConfig
from pseudomask.running.reporter import Reporter


def run(config: CalibrateConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.calibrate(config, reporter)


VERB = Verb(
    name="calibrate",
    config=CalibrateConfig,
    help="Train CPMC's heads on top of train-cls's or reactivate's weights.",
    run=run,
    next=extract_next,
    data=weights_file,
    shared=True,
    group=GROUPS[2],
)
