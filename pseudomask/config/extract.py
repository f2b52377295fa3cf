"""The settings of the maps that extract makes and calibrate trains towards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.cams import CamOptions
from pseudomask.config.common import (
    DecodeOptions,
    DeviceOptions,
    FolderOptions,
    LabelOptions,
    UpdateOptions,
    argument,
    option,
)
from pseudomask.config.methods import SingleMethodOptions
from pseudomask.config.methods.cpmc import WeightRule
from pseudomask.config.refiners import NAMES, RefinerOptions

Tta = Literal["full", "balanced", "six", "three", "fast"]
Quality = Literal["fast", "balanced", "best"]
"""Trade-offs between speed and quality; `config.quality` defines what each one stands for."""


@dataclass(frozen=True, kw_only=True)
class MapOptions(SingleMethodOptions, CamOptions):
    """How maps are made and stored."""

    method: str | None = option(
        None,
        "Method that makes the maps: cam, recam or cpmc; by default that of --quality.",
        "Method",
        before="recam",
        first=True,
    )
    weights: Path | None = option(
        None,
        "Weights file; imagenet (docs/imagenet.md), voc, timm:NAME or torchvision:NAME; by default "
        "$PSEUDOMASK_WEIGHTS, else the bundled voc.",
        "Method",
        role="place",
        first=True,
    )
    recam_weights: WeightRule | None = option(
        None,
        "Classifier weights of recam's map: w⊙w″ (product), w (first), w″ (second) or w+w″ (sum); by default as the "
        "weights' card recommends, else product.",
        "Method",
        of=("recam", "cpmc"),
    )
    threshold: float | Literal["auto"] | None = option(
        None,
        "Background threshold: pixels where no class scores above this are background; by default the weights' own.",
        "Method",
        min=0.0,
        max=1.0,
    )
    tta: Tta | None = option(
        None,
        "Test-time augmentation: full (four sizes, each also mirrored, as in the papers), balanced (every second size "
        "mirrored, half the time), six (three sizes, each also mirrored), three (none mirrored) or fast (two sizes); "
        "by default that of --quality.",
        "Method",
        role="free",
    )
    scales: str | None = option(
        None, "Scale factors of test-time augmentation, comma-separated; by default those of --tta.", "Method"
    )
    flip: bool | None = option(None, "Also use the mirrored photo at each scale; by default as --tta does.", "Method")
    max_side: int = option(
        640,
        "Downscale photos whose longer side exceeds this; masks keep the photo's size.",
        "Method",
        min=32,
    )
    score_stride: int = option(
        4, "Store one score per this many pixels of the downscaled photo, in each direction.", "Output", min=1, max=16
    )
    score_bits: Literal["8", "16"] = option("8", "Bits per stored score.", "Output")


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(
    UpdateOptions, FolderOptions, MapOptions, LabelOptions, DeviceOptions, DecodeOptions, RefinerOptions
):
    """Make pseudo masks and scores from photos."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    out: Path = argument("Folder for masks, scores, manifest.jsonl and run.json.", role="free")
    quality: Quality | None = option(
        None,
        "What --method, --tta and --refine are unless you give them: fast (recam), balanced (the default: cpmc, from "
        "lpcam maps where the weights have prototypes), or best (balanced at --tta six); refined by walk,crf "
        "where there is a boundary head, else by crf.",
        "Method",
        role="free",
        first=True,
    )
    refine: tuple[str, ...] = option(
        (),
        f"Refiners to apply in the same pass, in order: none, {', '.join(NAMES)}, or a list such as walk,crf; by "
        "default those of --quality. The masks are the refined ones, scores/ keep the unrefined scores.",
        "Method",
        role="masks",
        first=True,
    )
    scores: bool = option(True, "Write OUT/scores/….npz, for evaluate's sweep and for refine.", "Output")
    amp: Literal["auto", "off", "bf16", "fp16", "int8"] = option(  # type: ignore[assignment]  # int8 is for masks alone
        "auto",
        "Mixed precision; auto uses bf16 on GPUs and CPUs that support it, else off. int8 (experimental): 8 bits, "
        "for ResNets on CPUs without bf16 (docs/speed.md).",
        "Machine",
        role="machine",
    )
    batch_size: int | None = option(
        None, "Photos of equal size per batch; by default 4 on a CPU, 16 elsewhere.", "Machine", min=1, role="free"
    )
