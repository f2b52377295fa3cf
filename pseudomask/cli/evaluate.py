"""`pseudomask evaluate PRED GT`."""

from __future__ import annotations

from typing import Any

from pseudomask.cli import console
from pseudomask.cli.verb import Result, Verb
from pseudomask.config import EvaluateConfig
from pseudomask.running.reporter import Reporter


def run(config: EvaluateConfig, reporter: Reporter) -> Result:
    from pseudomask import api

    return api.evaluate(config, reporter)


def show(result: Any) -> list[str]:
    """The table of classes, and under it the protocol that belongs beside its number."""
    from pseudomask.measuring.reports import HEADER

    report = getattr(result, "report", result)
    lines = report.protocol.lines()
    width = max(len(label) for label, _ in lines)
    return [
        *console.table(HEADER, report.rows()),
        "",
        *(f"{label.ljust(width)}  {value}" for label, value in lines),
    ]


VERB = Verb(
    name="evaluate",
    config=EvaluateConfig,
    help="Compare masks or scores with true masks.",
    run=run,
    show=show,
)
