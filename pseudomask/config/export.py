"""The settings of export."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import argument, option
from pseudomask.config.review import ReviewOptions

ExportFormat = Literal[
    "voc", "mmseg", "coco", "cvat", "imagefolder", "yolo", "hub", "fiftyone", "labelstudio", "cvatxml"
]


@dataclass(frozen=True, kw_only=True)
class ExportConfig(ReviewOptions):
    """Turn masks into a data set for training frameworks."""

    out: Path = argument("Output folder of extract or refine.")
    dest: Path = argument("Folder for the export, new or empty; it appears once the export is complete.")
    format: ExportFormat = option(MISSING, "Format of the data set; docs/exports.md describes each.", "Output")
    link: bool = option(
        False,
        "Link photos instead of copying them (symbolic links across disks); saves disk space, but editing a linked "
        "photo edits the original.",
        "Output",
    )
    images: Path | None = option(
        None,
        "Folder of the photos; by default the one that OUT was made from.",
        "Input",
        role="place",
    )
    list: Path | None = option(
        None,
        "Export only the photos named in this file (stems or relative paths, one per line; - is stdin).",
        "Input",
        role="place",
    )
    split_name: str = option("train", "Name of the split that photos go to.", "Split")
    val_list: Path | None = option(None, "File of photo names that go to a second split, val.", "Split", role="place")
    val_fraction: float = option(
        0.0, "Fraction of photos held out for val, chosen by a hash of the name.", "Split", min=0.0, max=0.9
    )
    license: str | None = option(
        None, "hub: licence of the masks for the card, such as cc-by-4.0; by default unknown.", "Card"
    )
    measured: str | None = option(
        None,
        "hub: JSON files from evaluate whose values the cards quote; several, separated by commas, give the spread.",
        "Card",
        role="place",
        metavar="FILE,...",
    )
    publish_weights: Path | None = option(
        None, "hub: also publish these weights with a model card, in model/.", "Card", role="place"
    )
    max_failures: int = option(0, "Exit 0 if at most N masks cannot be exported.", "Run", min=0, role="free")
    overwrite: bool = option(
        False, "Replace DEST if it is an earlier export; everything in it is deleted.", "Run", role="free"
    )
