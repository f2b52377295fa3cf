"""The settings of `train-affinity`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.config.common import SeedOptions, TagOptions, argument, option
from pseudomask.config.review import ReviewOptions
from pseudomask.config.training import LabelledCropOptions, ScheduleOptions


@dataclass(frozen=True, kw_only=True)
class AffinityScheduleOptions(LabelledCropOptions, ScheduleOptions):
    """The schedule of the boundary head, and its backbone (docs/refinement-walk.md)."""

    weights: Path | None = option(
        None,
        "Weights whose backbone is used, unchanged; by default $PSEUDOMASK_WEIGHTS, else the bundled weights.",
        "Network",
        role="place",
        first=True,
    )
    epochs: int = option(3, "Passes over the photos.", "Training", min=1, first=True)
    lr: float = option(0.1, "Learning rate of the boundary head; the backbone is frozen.", "Training", min=0.0)


@dataclass(frozen=True, kw_only=True)
class TrainAffinityConfig(ReviewOptions, SeedOptions, TagOptions, AffinityScheduleOptions):
    """Train the boundary head of `refine --method walk` on the confident parts of seeds.

    With `labels` the seeds that are missing are made first.
    """

    seeds: Path = argument("Output folder of extract with scores/; with --labels, what it lacks is made first.")
    run: Path = argument("Folder for the confident labels, the weights, the checkpoint and the log.", role="free")
    confident_foreground: float | None = option(
        None,
        "Scores above this are confident foreground; by default 0.12 above the threshold of SEEDS' masks.",
        "Labels",
        min=0.0,
        max=1.0,
    )
    confident_background: float | None = option(
        None,
        "Pixels where no class scores above this are confident background; by default 0.10 below the threshold of "
        "SEEDS' masks.",
        "Labels",
        min=0.0,
        max=1.0,
    )
    confident_crf: bool = option(True, "Refine the confident labels with the CRF.", "Labels")
    radius: int = option(
        10, "Maximum distance of compared pixel pairs, in cells of 4 × 4 pixels.", "Training", min=2, max=32
    )
    class_weight: float = option(
        1.0, "Weight of the loss that teaches the head the classes; 0: boundaries alone.", "Training", min=0, before=0.0
    )
