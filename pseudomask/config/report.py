"""The settings of the page that shows masks, and of the verb report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.common import argument, option


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What evaluate and report share."""

    images: Path | None = option(
        None,
        "Folder of the photos that the page shows; by default that of the run, if it is still there.",
        "Input",
        role="place",
    )
    html: Path | None = option(None, "Write a page with plots and all images, worst first, into this file.", "Output")
    html_size: float = option(
        20.0, "MB that the page may take: so many thumbnails are put into it, the rest is linked.", "Output", min=0.0
    )


@dataclass(frozen=True, kw_only=True)
class ReportConfig(PageOptions):
    """Write a page of masks, the most doubtful first, without true masks."""

    out: Path = argument("Folder that extract or refine wrote.")
    html: Path | None = option(None, "The page's file; by default OUT/report.html.", "Output")
    workers: int = option(-1, "Threads; -1 is one a core.", "Machine", min=-1, role="free")
