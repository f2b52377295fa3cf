"""`pseudomask evaluate PRED GT`."""

from __future__ import annotations

from typing import Any

from pseudomask.cli import console
from pseudomask.cli.help import GROUPS
from pseudomask.cli.verb import Result, Verb
from pseudomask.config import EvaluateConfig
from pseudomask.running.reporter import Reporter


def run(config: EvaluateConfig, reporter: Reporter) -> Result:
    # Not through pseudomask.api, which loads torch: comparing masks needs none.
    from pseudomask.measuring.from_config import evaluate

    return evaluate(config, reporter)


def show(result: Any) -> list[str]:
    """The number, the table of classes, and under it the protocol that belongs beside them.

    A class that is in no mask has no row; the protocol names it.
    """
    from pseudomask.measuring.reports import HEADER

    report = getattr(result, "report", result)
    rows = [row for row in report.rows() if any(cell != "-" for cell in row[1:])]
    lines = report.protocol.lines()
    width = max(len(label) for label, _ in lines)
    return [
        report.headline(),
        "",
        *console.table(HEADER, rows),
        "",
        *(f"{label.ljust(width)}  {value}" for label, value in lines),
    ]


VERB = Verb(
    name="evaluate",
    config=EvaluateConfig,
    help="Compare masks or scores with true masks.",
    run=run,
    show=show,
    group=GROUPS[1],
)
