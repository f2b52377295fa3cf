"""Settings of the maps that extract makes and calibrate trains towards."""

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
"""`layer4` is the former name of `last`."""
CalibTarget = Literal["prototype", "classifier", "argmax"]
CpmcCalibration = Literal["soft", "hard"]
CpmcOutput = Literal["calibrated", "refined"]


@dataclass(frozen=True, kw_only=True)
class CpmcOptions:
    """The steps of CPMC that extraction and training share (docs/methods-cpmc.md)."""

    cpmc_weights: CpmcWeights = option(
        "auto",
        "Classifier weights of the map to calibrate; auto: those of recam, or w (first) without a second classifier.",
        "CPMC",
        of=("cpmc",),
    )
    cpmc_refine: CpmcRefine = option(
        "propagate",
        "How context refines the classifier's map; both: propagate, then reassign once.",
        "CPMC",
        of=("cpmc",),
    )
    cpmc_iterations: int = option(4, "Rounds of context refinement; 0 disables it.", "CPMC", min=0, of=("cpmc",))
    cpmc_power: float = option(4.0, "Exponent of the feature similarity in propagate.", "CPMC", of=("cpmc",))
    cpmc_background: float = option(
        0.5, "Weight of the background in the seeds of the prototypes.", "CPMC", min=0.0, of=("cpmc",)
    )
    cpmc_contrast: float = option(
        0.9,
        "A class must exceed this fraction of the background prototype's similarity.",
        "CPMC",
        min=0.0,
        of=("cpmc",),
    )
    calib_target: CalibTarget = option(
        "prototype",
        "Map to correct where the two maps disagree; argmax: the prototype map, compared by class, not by threshold.",
        "CPMC",
        of=("cpmc",),
    )
    cpmc_high: float = option(
        0.6,
        "Scores at or above this count as positive where the maps are compared.",
        "CPMC",
        min=0.0,
        max=1.0,
        of=("cpmc",),
    )
    cpmc_low: float = option(
        0.5,
        "Scores below this count as negative where the maps are compared.",
        "CPMC",
        min=0.0,
        max=1.0,
        of=("cpmc",),
    )
    cpmc_kappa: float = option(
        0.0, "κ: weight of the missing parts that are added; 0 disables it.", "CPMC", min=0.0, of=("cpmc",)
    )
    cpmc_lambda: float = option(
        0.0, "λ: weight of the noise that is removed; 0 disables it.", "CPMC", min=0.0, of=("cpmc",)
    )
    cpmc_calibration: CpmcCalibration = option(
        "soft", "soft: subtract the noise; hard: zero the score where the noise exceeds it.", "CPMC", of=("cpmc",)
    )


@dataclass(frozen=True, kw_only=True)
class MapOptions(CpmcOptions):
    """How maps are made and stored."""

    method: str = option("recam", "Method that makes the maps: cam, recam or cpmc.", "Method")
    weights: Path | None = option(
        None, "Weights file; by default $PSEUDOMASK_WEIGHTS, else the bundled weights.", "Method", role="place"
    )
    recam_weights: WeightRule | None = option(
        None,
        "Classifier weights of recam's map: w⊙w″ (product), w (first), w″ (second) or w+w″ (sum); by default as the "
        "weights' card recommends, else product.",
        "Method",
        of=("recam", "cpmc"),
    )
    threshold: float | None = option(
        None,
        "Background threshold: pixels where no class scores above this are background; by default the weights' own.",
        "Method",
        min=0.0,
        max=1.0,
    )
    tta: Tta = option(
        "balanced",
        "Test-time augmentation: full (four sizes, each also mirrored, as in the papers), balanced (every second size "
        "mirrored, half the time) or fast (two sizes).",
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
    cpmc_features: CpmcFeatures = option(
        "auto",
        "Features of the prototypes: calibrate's heads, all backbone stages (hierarchical), or the last stage (last; "
        "layer4 is its old name); auto: the heads if the weights have them, else all stages.",
        "CPMC",
        of=("cpmc",),
    )
    cpmc_gamma: float = option(
        0.0, "γ: weight of the classifier's refined map, added to the calibrated map.", "CPMC", min=0.0, of=("cpmc",)
    )
    cpmc_output: CpmcOutput = option(
        "calibrated",
        "Map to write: the calibrated map, or the classifier's refined map (no prototypes).",
        "CPMC",
        of=("cpmc",),
    )
    score_stride: int = option(
        4, "Store one score per this many pixels of the downscaled photo, in each direction.", "Output", min=1, max=16
    )
    score_bits: Literal["8", "16"] = option("8", "Bits per stored score.", "Output")


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(FolderOptions, MapOptions, LabelOptions, DeviceOptions):
    """Make pseudo masks and scores from photos."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    out: Path = argument("Folder for masks, scores, manifest.jsonl and run.json.", role="free")
    scores: bool = option(True, "Write OUT/scores/….npz, for evaluate's sweep and for refine.", "Output")
    batch_size: int = option(4, "Photos of equal size per batch.", "Machine", min=1, role="free")
