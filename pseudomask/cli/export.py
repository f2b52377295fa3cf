"""`pseudomask export OUT DEST`."""

from __future__ import annotations

from typing import Any

from pseudomask.cli.help import GROUPS
from pseudomask.cli.verb import Result, Verb, columns
from pseudomask.config import ExportConfig
from pseudomask.running.reporter import Reporter


def run(config: ExportConfig, reporter: Reporter) -> Result:
    # Not through pseudomask.api, which loads torch: moving masks needs none.
    from pseudomask.exporting.export import export

    return export(config, reporter)


def show(result: Any) -> list[str]:
    """The summary, and under it the lines to paste."""
    lines = [label + value for label, value in columns(result.summary())]
    return [*lines, "", *result.paste.split("\n")] if result.paste else lines


def where(config: ExportConfig, result: Result) -> list[str]:
    """The export's folder, for the next command of a script."""
    return [str(config.dest)]


VERB = Verb(
    name="export",
    config=ExportConfig,
    help="Turn masks into a data set that trainers open.",
    run=run,
    show=show,
    data=where,
    group=GROUPS[1],
)
