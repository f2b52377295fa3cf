"""The settings of `calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.cams import TrainingCamOptions
from pseudomask.config.common import option
from pseudomask.config.methods.cpmc import CpmcOptions
from pseudomask.config.training import LabelledCropOptions, TrainingOptions


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(LabelledCropOptions, TrainingOptions, CpmcOptions, TrainingCamOptions):
    """Train CPMC's heads, whose features make the prototypes, where the refined map and its teacher disagree."""

    weights: Path | None = option(
        None, "Weights from train-cls or reactivate.", "Network", role="place", first=True, needed=True
    )
    seeds: Path | None = option(
        None,
        "Output folder of extract with scores/ of these photos; what it lacks is made first. By default RUN/seeds.",
        "Labels",
        role="place",
        first=True,
    )
    teacher: str = option(
        "auto",
        "Boundary head that walks the seeds before they teach, as extract does: a file, auto (the one that comes with "
        "pseudomask for this backbone, if any), or none. The CRF follows.",
        "Labels",
    )
    fn_weight: float = option(
        1.0, "Weight in the loss of what the refined map misses of a class (false negatives).", "Training", min=0.0
    )
    fp_weight: float = option(
        1.0,
        "Weight in the loss of background that the refined map gives to a class (false positives).",
        "Training",
        min=0.0,
    )
    epochs: int = option(2, "Passes over the photos.", "Training", min=1, first=True)
    patience: int = option(0, "Held-out tags say nothing of the heads.", "Training", cli=False)
    lr: float = option(5e-5, "Learning rate of the unfrozen backbone.", "Training", min=0.0)
    lr_head: float | None = option(1.0, "Learning rate of the heads.", "Training", min=0.0)
    freeze: str = option(
        "all",
        "Freeze the backbone up to this point: none, stem, a stage, or all, which keeps the classifier's map "
        "unchanged.",
        "Training",
    )
