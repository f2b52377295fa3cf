"""The settings of export."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import argument, option

ExportFormat = Literal["voc", "mmseg", "coco", "cvat", "imagefolder", "yolo"]


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Turn masks into a data set that trainers open."""

    out: Path = argument("What extract or refine wrote: masks, manifest.jsonl and run.json.")
    dest: Path = argument("Folder for the export, new or empty; it appears when all is in it.")
    format: ExportFormat = option(MISSING, "What it is for; docs/exports.md shows each.", "Output")
    link: bool = option(
        False,
        "Link photos instead of copying them, by hard links, or symbolic ones to another disk: no room is taken, but "
        "who changes a photo there changes yours.",
        "Output",
    )
    images: Path | None = option(
        None,
        "Folder of the photos; by default the one that OUT was made from, if it is still there.",
        "Input",
        role="place",
    )
    list: Path | None = option(
        None,
        "Export only the photos named in this file (stems or relative paths, one a line; - is stdin).",
        "Input",
        role="place",
    )
    split_name: str = option("train", "Name of the list, or folder, of the photos.", "Split")
    val_list: Path | None = option(None, "Photos named in this file go to a second list, val.", "Split", role="place")
    val_fraction: float = option(
        0.0, "Or this share of them, drawn by a hash of their names.", "Split", min=0.0, max=0.9
    )
    max_failures: int = option(
        0, "So many masks that cannot be exported still count as success.", "Run", min=0, role="free"
    )
    overwrite: bool = option(
        False, "Replace DEST, if it is an earlier export, with all that is in it.", "Run", role="free"
    )
