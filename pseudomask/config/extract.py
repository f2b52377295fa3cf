"""The settings of maps: what extract makes them with, and what calibrate trains towards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import DeviceOptions, FolderOptions, LabelOptions, argument, option

Tta = Literal["full", "balanced", "fast"]
WeightRule = Literal["product", "first", "second", "sum"]
"""Which classifier's weights make the map: w ⊙ w″ (the paper's VOC rule), w (its COCO rule), w″, w + w″."""
CpmcWeights = Literal["auto", WeightRule]
CpmcRefine = Literal["propagate", "reassign", "both", "none"]
CpmcFeatures = Literal["auto", "last", "hierarchical", "heads", "layer4"]
"""`layer4` is what `last` was called at first."""
CalibTarget = Literal["prototype", "classifier", "argmax"]
CpmcCalibration = Literal["soft", "hard"]
CpmcOutput = Literal["calibrated", "refined"]


@dataclass(frozen=True, kw_only=True)
class CpmcOptions:
    """The steps of CPMC that extraction and training share (docs/methods-cpmc.md)."""

    cpmc_weights: CpmcWeights = option(
        "auto",
        "Which classifier's map is calibrated; auto: recam's, or w where the weights have no second classifier.",
        "CPMC",
        of=("cpmc",),
    )
    cpmc_refine: CpmcRefine = option(
        "propagate",
        "How the classifier's map is refined by context; both: propagate, then reassign once.",
        "CPMC",
        of=("cpmc",),
    )
    cpmc_iterations: int = option(4, "How often it is refined; 0 is not at all.", "CPMC", min=0, of=("cpmc",))
    cpmc_power: float = option(4.0, "Exponent of the features' similarity in propagate.", "CPMC", of=("cpmc",))
    cpmc_background: float = option(
        0.5, "Weight of the background in the seeds that prototypes are made from.", "CPMC", min=0.0, of=("cpmc",)
    )
    cpmc_contrast: float = option(
        0.9, "Share of the background prototype's similarity that a class must exceed.", "CPMC", min=0.0, of=("cpmc",)
    )
    calib_target: CalibTarget = option(
        "prototype",
        "Which map is held to be wrong where the two disagree; argmax: the prototype's, by classes, not thresholds.",
        "CPMC",
        of=("cpmc",),
    )
    cpmc_high: float = option(
        0.6, "A map says yes from here on, where maps disagree.", "CPMC", min=0.0, max=1.0, of=("cpmc",)
    )
    cpmc_low: float = option(0.5, "And no below this.", "CPMC", min=0.0, max=1.0, of=("cpmc",))
    cpmc_kappa: float = option(0.0, "κ: weight of the parts found missing; 0 adds none.", "CPMC", min=0.0, of=("cpmc",))
    cpmc_lambda: float = option(0.0, "λ: weight of the noise found; 0 takes none away.", "CPMC", min=0.0, of=("cpmc",))
    cpmc_calibration: CpmcCalibration = option(
        "soft", "Subtract the noise, or cut out where it exceeds the class.", "CPMC", of=("cpmc",)
    )


@dataclass(frozen=True, kw_only=True)
class MapOptions(CpmcOptions):
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
    cpmc_features: CpmcFeatures = option(
        "auto",
        "What prototypes are made of: calibrate's heads, all stages of the backbone, or the last (once called layer4); "
        "auto: the heads where the weights carry them, else all stages.",
        "CPMC",
        of=("cpmc",),
    )
    cpmc_gamma: float = option(
        0.0, "γ: weight of the classifier's refined map beside the calibrated one.", "CPMC", min=0.0, of=("cpmc",)
    )
    cpmc_output: CpmcOutput = option(
        "calibrated", "The result, or the classifier's refined map alone (no prototypes).", "CPMC", of=("cpmc",)
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
