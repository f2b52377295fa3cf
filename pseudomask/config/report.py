"""The settings of the HTML page and of the verb report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.common import argument, option


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Settings shared by evaluate and report."""

    images: Path | None = option(
        None,
        "Folder of the photos to show; by default the one that the masks were made from.",
        "Input",
        role="place",
    )
    html: Path | None = option(None, "Write a page with plots and all images, worst first, to this file.", "Output")
    html_size: float = option(
        20.0, "Maximum size of the page in MB; thumbnails that do not fit are linked.", "Output", min=0.0
    )


@dataclass(frozen=True, kw_only=True)
class ReportConfig(PageOptions):
    """Write an HTML page of masks, most doubtful first; needs no true masks."""

    out: Path = argument("Output folder of extract or refine.")
    html: Path | None = option(None, "File of the page; by default OUT/report.html.", "Output")
    workers: int = option(-1, "Threads; -1 is one per core.", "Machine", min=-1, role="free")
