"""The settings of doctor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.common import option


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Check this machine and try one photo."""

    weights: Path | None = option(None, "Weights file to check; by default the one that extract would use.", "Input")
    out: Path = option(Path(), "Folder to check for writing masks; by default the current one.", "Output")
    device: str = option("auto", "Device to check: auto, cpu, cuda, cuda:1 or mps.", "Machine")
    smoke: bool = option(True, "Make a mask of one synthetic photo.", "Run")
