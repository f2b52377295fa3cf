"""`pseudomask run CONFIG.toml`."""

from __future__ import annotations

from typing import Any

from pseudomask.cli import console
from pseudomask.cli.verb import Result, Verb
from pseudomask.config import RunConfig
from pseudomask.running.reporter import Reporter


def run(config: RunConfig, reporter: Reporter) -> Result:
    # Not through pseudomask.api, which loads torch: a chain without a network needs none.
    from pseudomask.chain.run import run

    return run(config, reporter)


def show(result: Any) -> list[str]:
    """A line for each step, and what changed where that is why it is made anew."""
    rows = result.rows()
    keep = [i for i in range(len(_HEADER)) if any(row[i] for row in rows)]
    lines = console.table([_HEADER[i] for i in keep], [[row[i] for i in keep] for row in rows])
    changed = [f"{entry['step']}: {entry['why']}" for entry in result.steps if entry["why"] and result.dry]
    return [*lines, *(["", *changed] if changed else [])]


def where(config: RunConfig, result: Any) -> list[str]:
    """The folder of all that the steps made, for the next command of a script."""
    return [] if config.dry_run else [str(result.out)]


_HEADER = ("step", "what", "time", "result", "where")

VERB = Verb(
    name="run",
    config=RunConfig,
    help="Do a chain of verbs from one file.",
    run=run,
    show=show,
    data=where,
    group="Make masks",
    configurable=False,
)
