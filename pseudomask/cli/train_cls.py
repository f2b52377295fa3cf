"""`pseudomask train-cls IMAGES RUN`."""

from __future__ import annotations

from pseudomask.cli.help import GROUPS
from pseudomask.cli.verb import Result, Verb, weights_file
from pseudomask.config import TrainClsConfig
from pseudomask.quoting import command
from pseudomask.running.reporter import Reporter


def run(config: TrainClsConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.train_cls(config, reporter)


def reactivate(config: TrainClsConfig, result: Result) -> str:
    """ReCAM's second step."""
    words = ("--labels", config.labels, "--weights", result.weights)  # type: ignore[attr-defined]
    return command("reactivate", config.images, "RUN", *words)


VERB = Verb(
    name="train-cls",
    config=TrainClsConfig,
    help="Train the multi-label classifier on photos and tags.",
    run=run,
    next=reactivate,
    data=weights_file,
    shared=True,
    group=GROUPS[2],
)
