"""The settings of doctor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.common import option


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Say what this machine has and lacks, and try one photo."""

    weights: Path | None = option(None, "Weights to look at; by default those that extract would take.", "Input")
    out: Path = option(Path(), "Folder that masks are to be written to.", "Output")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps; one asked for and absent is missing.", "Machine")
    smoke: bool = option(True, "Make a mask of one drawn photo.", "Run")
