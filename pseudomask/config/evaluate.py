"""The settings of evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import argument, option
from pseudomask.config.report import PageOptions


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(PageOptions):
    """Compare masks, or scores at all thresholds, with true masks."""

    pred: Path = argument("Folder that extract wrote, or any folder of mask PNGs or score files.")
    gt: Path = argument("Folder of true masks (PNG of class indices; 255 is ignored).")
    list: Path | None = option(
        None, "Evaluate only what this file names; all of it must be there.", "Input", role="place"
    )
    class_file: Path | None = option(None, "Class names, one a line, `background` first.", "Input", role="place")
    truth_map: str | None = option(
        None,
        "What the numbers in GT mean where they are not class indices: 255=cat,0=background,1-9=ignore, or a file of "
        "such lines.",
        "Input",
    )
    truth_palette: str | None = option(
        None, "What the colours in GT mean: voc, or a file of lines R G B NAME or #RRGGBB NAME.", "Input"
    )
    pred_map: str | None = option(None, "The same for the numbers in PRED, made by another program.", "Input")
    pred_palette: str | None = option(None, "The same for the colours in PRED.", "Input")
    classes: str | None = option(None, "Restrict the mean to these classes, comma-separated.", "Measure")
    sweep: bool = option(False, "Use PRED's scores and try every threshold.", "Measure")
    threshold: float | None = option(
        None, "Use PRED's scores at this threshold, chosen elsewhere.", "Measure", min=0.0, max=1.0
    )
    ignore: int = option(255, "Index of pixels that do not count.", "Measure", min=0)
    missing: Literal["error", "skip"] = option("error", "Listed photos without a mask.", "Measure")
    json_file: Path | None = option(None, "Write the report as JSON.", "Output")
    csv: Path | None = option(None, "Write one row per class, and per image into NAME.images.csv beside it.", "Output")
    markdown: Path | None = option(None, "Write the report as Markdown.", "Output")
    workers: int = option(-1, "Threads; -1 is one a core.", "Machine", min=-1, role="free")
