"""`pseudomask report OUT`."""

from __future__ import annotations

from typing import Any

from pseudomask.cli.help import GROUPS
from pseudomask.cli.verb import Result, Verb
from pseudomask.config import ReportConfig
from pseudomask.running.reporter import Reporter


def run(config: ReportConfig, reporter: Reporter) -> Result:
    # Not through pseudomask.api, which loads torch: pictures of masks need none.
    from pseudomask.reporting.report import report

    return report(config, reporter)


def where(config: ReportConfig, result: Any) -> list[str]:
    """The page, for the next command of a script."""
    return [str(result.page.path)]


VERB = Verb(
    name="report",
    config=ReportConfig,
    help="Write a page of masks, the most doubtful first, without true masks.",
    run=run,
    data=where,
    group=GROUPS[1],
)
