"""The settings of run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.common import argument, option


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Run a chain of verbs from one file; finished steps are skipped."""

    config: Path = argument("TOML file with one table per step; shared settings at the top (docs/run.md).")
    from_: str | None = option(
        None, "Start at this step and use the results of earlier steps as they are.", "Run", metavar="STEP"
    )
    until: str | None = option(None, "Stop after this step.", "Run", metavar="STEP")
    seeds: int = option(
        1,
        "Repeat the trainings, and the steps that use their results, with N seeds; tells mean and spread.",
        "Run",
        min=1,
    )
    partial: bool = option(
        False, "If the file expects data that is not all there, run with what is there instead of refusing.", "Run"
    )
    overwrite: bool = option(False, "Redo steps whose settings changed; keep the others.", "Run")
    check: bool = option(
        False,
        "Try each step on a few photos, print what the chain would take (time, disk, memory) and stop.",
        "Run",
    )
    dry_run: bool = option(False, "Print what each step would do, and stop.", "Run")
