"""The settings of prototypes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.common import DeviceOptions, LabelOptions, argument, option
from pseudomask.config.methods.cpmc import WeightRule


@dataclass(frozen=True, kw_only=True)
class PrototypesConfig(LabelOptions, DeviceOptions):
    """Cluster the features of each class's photos into the prototypes of extract --cam lpcam."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    file: Path = argument("File for the prototypes (.safetensors).", role="free")
    weights: Path | None = option(
        None, "Weights file; by default $PSEUDOMASK_WEIGHTS, else the bundled weights.", "Method", role="place"
    )
    recam_weights: WeightRule | None = option(
        None,
        "Classifier weights of the map that tells a class from its context; extract must use the same rule; by default "
        "its own default, or w (first) without a second classifier.",
        "Method",
    )
    clusters: int = option(12, "Most prototypes of a class, and of its context.", "Method", min=1)
    foreground: float = option(
        0.1, "Positions where the class scores above this belong to it, the others to its context.", "Method",
        min=0.0, max=1.0,
    )  # fmt: skip
    certainty: float = option(
        0.9, "Keep a prototype of the class only if the classifier gives it the class with more than this probability.",
        "Method", min=0.0, max=1.0,
    )  # fmt: skip
    context: tuple[float, float] = option(
        (0.05, 0.9),
        "Keep a prototype of the context only if that probability lies between these; the paper takes 0,0.5 for COCO.",
        "Method",
        metavar="LOW,HIGH",
        min=0.0,
        max=1.0,
    )
    photos_per_class: int = option(500, "Most photos of each class to look at, drawn at random.", "Method", min=1)
    vectors: int = option(
        4000, "Most feature vectors of a class, and of its context, to cluster; bounds memory and time.", "Method",
        min=1,
    )  # fmt: skip
    seed: int = option(0, "Random seed of the photos, vectors and clusters.", "Method", min=0)
    max_side: int = option(640, "Downscale photos whose longer side exceeds this.", "Method", min=32)
    max_pixels: int = option(200_000_000, "Refuse photos with more pixels than this.", "Input", min=1)
    allow_truncated: bool = option(False, "Accept photos whose file is truncated.", "Input")
    batch_size: int = option(4, "Photos of equal size per batch.", "Machine", min=1, role="free")
    max_failures: int = option(0, "Exit 0 if at most N photos are unreadable.", "Run", min=0, role="free")
    overwrite: bool = option(False, "Replace FILE.", "Run", role="free")
    dry_run: bool = option(False, "Print what would be done, and stop.", "Run", role="free")
