"""The settings of run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.common import argument, option


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Do a chain of verbs from one file, each step only where its outputs are not there yet."""

    config: Path = argument("TOML file: a table for each step, and what they share at the top (docs/run.md).")
    from_: str | None = option(
        None, "Begin at this step and take what the steps before it made as it is.", "Run", metavar="STEP"
    )
    until: str | None = option(None, "Stop after this step.", "Run", metavar="STEP")
    overwrite: bool = option(False, "Make steps anew that were made with other settings; the others stay.", "Run")
    dry_run: bool = option(False, "Say what each step would do, and stop.", "Run")
