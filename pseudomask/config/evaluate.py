"""The settings of evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import argument, option
from pseudomask.config.report import PageOptions
from pseudomask.config.review import ReviewOptions


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ReviewOptions, PageOptions):
    """Compare masks, or scores at every threshold, with true masks."""

    pred: Path = argument("Output folder of extract or refine, or any folder of mask PNGs or score files.")
    gt: Path = argument("Folder of true masks (PNGs of class indices; 255 is ignored), or a COCO instances file.")
    list: Path | None = option(
        None, "Evaluate only the images named in this file; all must exist.", "Input", role="place"
    )
    class_file: Path | None = option(None, "Class names, one per line, `background` first.", "Input", role="place")
    truth_map: str | None = option(
        None,
        "Meaning of the values in GT if they are not class indices: 255=cat,0=background,1-9=ignore, or a file with "
        "such lines.",
        "Input",
    )
    truth_palette: str | None = option(
        None, "Meaning of the colours in GT: voc, or a file of lines R G B NAME or #RRGGBB NAME.", "Input"
    )
    truth_crowds: Literal["ignore", "background"] = option(
        "ignore",
        "What pixels are that only a crowd of a COCO file covers: ignored, or background as in ReCAM's public code.",
        "Input",
    )
    pred_map: str | None = option(
        None, "Meaning of the values in PRED, if another program made it; written as for --truth-map.", "Input"
    )
    pred_palette: str | None = option(None, "Meaning of the colours in PRED, written as for --truth-palette.", "Input")
    classes: str | None = option(None, "Average over these classes only, comma-separated.", "Measure")
    sweep: bool = option(False, "Evaluate PRED's scores at every threshold.", "Measure")
    threshold: float | None = option(
        None, "Evaluate PRED's scores at this background threshold.", "Measure", min=0.0, max=1.0
    )
    ignore: int = option(255, "Class index of pixels that are not counted.", "Measure", min=0)
    missing: Literal["error", "skip"] = option("error", "What to do if an image of --list has no mask.", "Measure")
    json_file: Path | None = option(None, "Write the report to this file as JSON.", "Output")
    csv: Path | None = option(
        None, "Write a CSV file with one row per class, and NAME.images.csv with one row per image.", "Output"
    )
    markdown: Path | None = option(None, "Write the report to this file as Markdown.", "Output")
    workers: int = option(-1, "Threads; -1 is one per core.", "Machine", min=-1, role="free")
