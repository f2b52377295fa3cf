"""`pseudomask train-affinity IMAGES SEEDS RUN`."""

from __future__ import annotations

from pseudomask.cli.help import GROUPS
from pseudomask.cli.verb import Result, Verb, weights_file
from pseudomask.config import TrainAffinityConfig
from pseudomask.quoting import command
from pseudomask.running.reporter import Reporter


def run(config: TrainAffinityConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.train_affinity(config, reporter)


def refine(config: TrainAffinityConfig, result: Result) -> str:
    """What the boundary network is for."""
    return command("refine", config.images, config.seeds, "REFINED", "--affinity", result.weights)  # type: ignore[attr-defined]


VERB = Verb(
    name="train-affinity",
    config=TrainAffinityConfig,
    help="Train the boundary network of refine's walk on what seeds are sure of.",
    run=run,
    next=refine,
    data=weights_file,
    shared=True,
    group=GROUPS[2],
)
