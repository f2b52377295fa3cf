"""The settings of maps: what extract makes them with, and what calibrate trains towards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import DeviceOptions, FolderOptions, LabelOptions, argument, option
from pseudomask.config.methods import SingleMethodOptions
from pseudomask.config.methods.cpmc import WeightRule

Tta = Literal["full", "balanced", "fast"]


@dataclass(frozen=True, kw_only=True)
class MapOptions(SingleMethodOptions):
    """How maps are made, and how finely they are stored."""

    method: str = option("recam", "How maps are made: cam, recam or cpmc.", "Method")
    weights: Path | None = option(
        None, "Weights; by default $PSEUDOMASK_WEIGHTS, else those that come with pseudomask.", "Method", role="place"
    )
    recam_weights: WeightRule | None = option(
        None,
        "Which classifier makes recam's map: w⊙w″ (product), w, w″ or w+w″; by default what the weights' card "
        "recommends, else product.",
        "Method",
        of=("recam", "cpmc"),
    )
    threshold: float | None = option(
        None,
        "Background where no class scores above this; by default the weights' own.",
        "Method",
        min=0.0,
        max=1.0,
    )
    tta: Tta = option(
        "balanced",
        "How often each photo is seen: full (four sizes, each mirrored too, as in the papers), balanced (every second "
        "size mirrored: half the time) or fast (two sizes).",
        "Method",
        role="free",
    )
    scales: str | None = option(None, "Sizes at which each photo is seen, comma-separated; else --tta's.", "Method")
    flip: bool | None = option(None, "See each size mirrored too; by default as --tta says.", "Method")
    max_side: int = option(
        640,
        "Photos with a longer side are first reduced to it; masks keep the photo's size.",
        "Method",
        min=32,
    )
    score_stride: int = option(4, "Pixels of the (reduced) photo per stored score.", "Output", min=1, max=16)
    score_bits: Literal["8", "16"] = option("8", "Bits a stored score.", "Output")


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(FolderOptions, MapOptions, LabelOptions, DeviceOptions):
    """Make pseudo masks and scores from photos."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    out: Path = argument("Folder for masks, scores, manifest.jsonl and run.json.", role="free")
    scores: bool = option(True, "Write OUT/scores/….npz, for evaluate's sweep and for refine.", "Output")
    batch_size: int = option(4, "Photos of equal shape computed together.", "Machine", min=1, role="free")
