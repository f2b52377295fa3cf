"""The settings of the verbs that train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import DeviceOptions, LabelOptions, SeedOptions, argument, option
from pseudomask.config.methods.cpmc import CpmcOptions
from pseudomask.errors import UsageError

Style = Literal["pytorch", "caffe"]
"""Where a stage's stride sits: in its 3×3 convolution (`pytorch`) or in its first 1×1 one (`caffe`)."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions(DeviceOptions):
    """What all training verbs share (the schedule of IRN's and ReCAM's public code)."""

    epochs: int = option(5, "Passes over the photos.", "Training", min=1)
    batch_size: int = option(16, "Photos a step.", "Training", min=1)
    crop: int = option(512, "Side of the square training crop, in pixels.", "Training", min=32)
    min_side: int | None = option(
        None,
        "Smallest random long side of a photo before the crop; by default 0.625 × crop.",
        "Training",
        min=16,
    )
    max_side: int | None = option(
        None, "Largest random long side of a photo before the crop; by default 1.25 × crop.", "Training", min=16
    )
    lr: float = option(0.02, "Learning rate of the backbone.", "Training", min=0.0)
    momentum: float = option(
        0.0,
        "SGD's momentum. The published ReCAM and IRN numbers come from about 0; with 0.9 divide --lr by 10.",
        "Training",
        min=0.0,
        max=0.999,
    )
    weight_decay: float = option(1e-4, "SGD's weight decay.", "Training", min=0.0)
    power: float = option(0.9, "Exponent of the polynomial learning-rate decay.", "Training", min=0.0)
    warmup: int = option(0, "Steps over which the learning rate rises linearly from 0.", "Training", min=0)
    clip: float = option(0.0, "Largest gradient norm; 0 does not clip.", "Training", min=0.0)
    seed: int = option(0, "Seed of every random choice; recorded.", "Training", min=0)
    checkpoint_every: int = option(
        100, "Steps between checkpoints (one is also written at each epoch's end).", "Training", min=1, role="free"
    )
    weights_dtype: Literal["fp16", "fp32"] = option("fp16", "Precision of the saved weights.", "Training")
    license: str = option("unknown", "Licence of the weights, written into their card.", "Training")
    data_name: str | None = option(None, "Name of the training data in the weights' card.", "Training")
    overwrite: bool = option(False, "Start anew where RUN holds other training.", "Run", role="free")
    dry_run: bool = option(False, "Say what was understood, and stop.", "Run", role="free")

    @property
    def sides(self) -> tuple[int, int]:
        """The range of the random long side: ReCAM's 320–640 for a crop of 512, in proportion.

        Raises `UsageError` where the smallest is above the largest.
        """
        low = self.min_side or max(16, round(0.625 * self.crop))
        high = self.max_side or round(1.25 * self.crop)
        if low > high:
            raise UsageError(f"--min-side {low} is above --max-side {high}; give both")
        return low, high


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(LabelOptions, ScheduleOptions):
    """What the verbs share that train on photos with tags."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    run: Path = argument("Folder for the weights, the checkpoint and the log.", role="free")
    val_list: Path | None = option(
        None, "Photos held out to measure loss and average precision; never trained on.", "Input", role="place"
    )
    val_fraction: float = option(
        0.05, "Share of the photos held out when --val-list is not given.", "Input", min=0.0, max=0.9
    )
    lr_head: float | None = option(
        None, "Learning rate of the newest classifier; by default 10 × --lr.", "Training", min=0.0
    )
    freeze: str = option(
        "stem",
        "Hold the backbone fixed up to here: none, stem, a stage (a ResNet's are layer1 to layer4), or all. ReCAM "
        "fixes the stem, IRN up to layer2.",
        "Training",
    )

    @property
    def head_rate(self) -> float:
        """The learning rate of the newest part of the network."""
        return self.lr_head if self.lr_head is not None else 10 * self.lr


@dataclass(frozen=True, kw_only=True)
class TrainClsConfig(TrainingOptions):
    """Train the multi-label classifier whose weights make class activation maps."""

    backbone: str = option("resnet50", "A torchvision ResNet, such as resnet18 or resnet101.", "Network")
    backbone_weights: Path | None = option(
        None,
        "A safetensors file in torchvision's naming; by default torchvision's ImageNet weights.",
        "Network",
        role="place",
    )
    backbone_style: Style = option(
        "pytorch", "Where these weights have their stride: 3×3 (pytorch) or first 1×1 (caffe).", "Network"
    )
    output_stride: int = option(16, "16, or 8 for finer and four times slower maps.", "Network")


@dataclass(frozen=True, kw_only=True)
class ReactivateConfig(TrainingOptions):
    """Train ReCAM's second classifier on features pooled under each class's map."""

    weights: Path | None = option(None, "Weights that train-cls wrote.", "Network", role="place")
    sce_weight: float = option(
        1.0, "λ, the softmax loss's weight: 1 for VOC, 0.1 for COCO in the paper.", "Training", min=0.0
    )
    epochs: int = option(2, "Passes over the photos.", "Training", min=1)
    lr: float = option(5e-5, "Learning rate of the first classifier and of what is not frozen.", "Training", min=0.0)
    lr_head: float | None = option(0.1, "Learning rate of the second classifier.", "Training", min=0.0)
    freeze: str = option(
        "all",
        "Hold the backbone fixed up to here: none, stem, a stage, or all. All of it measured best on small sets; the "
        "paper fixes the stem only: --freeze stem --epochs 4 --lr-head 5e-4.",
        "Training",
    )


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(TrainingOptions, CpmcOptions):
    """Train CPMC's heads: what prototypes are made of, so that they agree with the classifier's refined map."""

    weights: Path | None = option(None, "Weights that train-cls or reactivate wrote.", "Network", role="place")
    consistency: float = option(
        1.0, "α: weight of the difference between the two maps, beside the classification loss.", "Training", min=0.0
    )
    epochs: int = option(2, "Passes over the photos.", "Training", min=1)
    lr: float = option(5e-5, "Learning rate of the classifier and of what is not frozen.", "Training", min=0.0)
    lr_head: float | None = option(1.0, "Learning rate of the heads.", "Training", min=0.0)
    freeze: str = option(
        "all",
        "Hold the backbone fixed up to here: none, stem, a stage, or all, which leaves the classifier's map as it is.",
        "Training",
    )


@dataclass(frozen=True, kw_only=True)
class AffinityScheduleOptions(ScheduleOptions):
    """The schedule of the boundary head, and the backbone below it (docs/refinement-walk.md)."""

    weights: Path | None = option(
        None,
        "Weights whose backbone is used, as it is; by default $PSEUDOMASK_WEIGHTS, else those that come with "
        "pseudomask.",
        "Network",
        role="place",
    )
    epochs: int = option(3, "Passes over the photos.", "Training", min=1)
    crop: int = option(320, "Side of the square training crop, in pixels; IRN's is 512.", "Training", min=32)
    min_side: int = option(250, "Smallest random long side of a photo before the crop.", "Training", min=16)
    max_side: int = option(750, "Largest random long side of a photo before the crop.", "Training", min=16)
    lr: float = option(0.1, "Learning rate of the boundary network's head; the backbone stays.", "Training", min=0.0)


@dataclass(frozen=True, kw_only=True)
class TrainAffinityConfig(SeedOptions, AffinityScheduleOptions):
    """Train the boundary network of `refine --method walk` on what seeds are sure of."""

    seeds: Path = argument("What extract wrote: it must hold scores/.")
    run: Path = argument("Folder for the confident labels, the weights, the checkpoint and the log.", role="free")
    confident_foreground: float | None = option(
        None,
        "A score above this is surely its class; by default 0.12 above the threshold of SEEDS' masks.",
        "Labels",
        min=0.0,
        max=1.0,
    )
    confident_background: float | None = option(
        None,
        "Where no score is above this is surely background; by default 0.10 below the threshold of SEEDS' masks.",
        "Labels",
        min=0.0,
        max=1.0,
    )
    confident_crf: bool = option(True, "Make both masks follow the photo's edges, by the CRF.", "Labels")
    radius: int = option(
        10, "Pairs of pixels nearer than this are compared, in steps of 4 photo pixels.", "Training", min=2, max=32
    )
