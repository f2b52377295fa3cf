"""The verb `run`: a chain of verbs, and its page."""

from __future__ import annotations

from pseudomask.chain.outcome import RunResult
from pseudomask.chain.run import run as run_chain
from pseudomask.config import RunConfig
from pseudomask.reporting.tables import write_tables
from pseudomask.running.reporter import Reporter

PAGE = "run.html"


def run(config: RunConfig, reporter: Reporter | None = None) -> RunResult:
    """Run the chain of a file (see `RunConfig`), and write chain.json, run.toml and run.html to its `out`.

    Finished steps are skipped; steps made with other settings are redone with `overwrite`, otherwise refused. Raises
    `UsageError` before any work if the file has a mistake, and the errors of steps, with the step's name before the
    message. A step with an exit code other than 0 ends the chain.
    """
    result = run_chain(config, reporter)
    if result.shown is not None:
        write_tables(result.out / PAGE, result.shown)
    return result
