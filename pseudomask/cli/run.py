"""`pseudomask run CONFIG.toml`."""

from __future__ import annotations

from pathlib import Path
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
    """A line for each step, and in a dry run what changed where one would be made anew."""
    rows = [(*row[:-1], _below(row[-1], result.out)) for row in result.rows()]
    header = ("step", "what", "time", "result", f"below {result.out}")
    keep = [i for i in range(len(header)) if any(row[i] for row in rows)]
    lines = console.table([header[i] for i in keep], [[row[i] for i in keep] for row in rows])
    changed = [f"{entry['step']}: {entry['why']}" for entry in result.steps if entry["why"] and result.dry]
    return [*lines, *(["", *changed] if changed else [])]


def _below(place: str, out: Path) -> str:
    """The place as short as it can be named."""
    path = Path(place)
    return str(path.relative_to(out)) if path.is_relative_to(out) else place


def where(config: RunConfig, result: Any) -> list[str]:
    """The folder of all that the steps made, for the next command of a script."""
    return [] if config.dry_run else [str(result.out)]


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
