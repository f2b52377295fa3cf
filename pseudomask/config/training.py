"""The settings of the verbs that train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pseudomask.config.cams import TrainingCamOptions
from pseudomask.config.common import DeviceOptions, LabelOptions, argument, option
from pseudomask.errors import UsageError

Style = Literal["pytorch", "caffe"]
"""Which convolution in a stage has the stride: the 3×3 (`pytorch`) or the first 1×1 (`caffe`)."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions(DeviceOptions):
    """Settings shared by all training verbs (the schedule of IRN's and ReCAM's public code)."""

    epochs: int = option(5, "Passes over the photos.", "Training", min=1, first=True)
    batch_size: int = option(16, "Photos per step.", "Training", min=1, first=True)
    crop: int = option(512, "Side of the square training crop, in pixels.", "Training", min=32, first=True)
    min_side: int | None = option(
        None,
        "Minimum of the random long side that a photo is scaled to before the crop; by default 0.625 × crop.",
        "Training",
        min=16,
    )
    max_side: int | None = option(
        None,
        "Maximum of the random long side that a photo is scaled to before the crop; by default 1.25 × crop.",
        "Training",
        min=16,
    )
    lr: float = option(0.02, "Learning rate of the backbone.", "Training", min=0.0, first=True)
    momentum: float = option(
        0.0,
        "Momentum of SGD. The published ReCAM and IRN results use about 0; for 0.9, divide --lr by 10.",
        "Training",
        min=0.0,
        max=0.999,
    )
    weight_decay: float = option(1e-4, "Weight decay of SGD.", "Training", min=0.0)
    power: float = option(0.9, "Exponent of the polynomial learning-rate decay.", "Training", min=0.0)
    warmup: int = option(0, "Steps over which the learning rate rises linearly from 0.", "Training", min=0)
    clip: float = option(0.0, "Maximum gradient norm; 0 disables clipping.", "Training", min=0.0)
    seed: int = option(0, "Random seed.", "Training", min=0)
    checkpoint_every: int = option(
        100, "Steps between checkpoints; one is also written after each epoch.", "Training", min=1, role="free"
    )
    weights_dtype: Literal["fp16", "fp32"] = option("fp16", "Precision of the saved weights.", "Training")
    license: str = option("unknown", "License of the weights, written to their card.", "Training")
    data_name: str | None = option(None, "Name of the training data, written to the weights' card.", "Training")
    overwrite: bool = option(False, "Start over and replace the training in RUN.", "Run", role="free", first=True)
    finish: bool = option(
        False,
        "End a stopped training now: write weights of its last checkpoint, without further steps.",
        "Run",
        role="free",
        first=True,
    )
    dry_run: bool = option(False, "Print what would be done, and stop.", "Run", role="free", first=True)

    USUAL_SIDES: ClassVar[tuple[float, float]] = (0.625, 1.25)
    """The range of the long side as multiples of the crop: ReCAM's 320–640 for a crop of 512."""

    @property
    def sides(self) -> tuple[int, int]:
        """The range of the random long side. Raises `UsageError` if the minimum is above the maximum."""
        least, most = self.USUAL_SIDES
        low = self.min_side or max(16, round(least * self.crop))
        high = self.max_side or round(most * self.crop)
        if low > high:
            raise UsageError(f"--min-side {low} is above --max-side {high}; give both")
        return low, high


@dataclass(frozen=True, kw_only=True)
class LabelledCropOptions:
    """The crops of the verbs that learn from confident labels: photos are scaled as IRN scales those of VOC."""

    crop: int = option(320, "Side of the square training crop, in pixels.", "Training", min=32, first=True)
    min_side: int = option(
        250, "Minimum of the random long side that a photo is scaled to before the crop.", "Training", min=16
    )
    max_side: int = option(
        750, "Maximum of the random long side that a photo is scaled to before the crop.", "Training", min=16
    )


@dataclass(frozen=True, kw_only=True)
class SplitOptions(LabelOptions):
    """Photos with tags, and which of them are held out; without a list, these are drawn with `seed`."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    labels: Path | None = option(
        None,
        "Tags of the photos: a CSV/TSV file, a VOC or COCO data set, one folder per class, or a text file.",
        "Input",
        role="place",
        first=True,
        needed=True,
    )
    val_list: Path | None = option(
        None, "File of held-out photos, used to measure loss and average precision.", "Input", role="place"
    )
    val_fraction: float = option(
        0.05, "Fraction of photos held out if --val-list is not given.", "Input", min=0.0, max=0.9
    )
    seed: int = option(0, "Random seed.", "Training", min=0)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(SplitOptions, ScheduleOptions):
    """Settings shared by the verbs that train on photos with tags."""

    run: Path = argument("Folder for the weights, the checkpoint and the log.", role="free")
    lr_head: float | None = option(
        None,
        "Learning rate of the newest classifier; by default 10 × --lr, or --lr if it does not begin at random.",
        "Training",
        min=0.0,
    )
    freeze: str = option(
        "stem",
        "Freeze the backbone up to this point: none, stem, a stage (layer1 to layer4 of a ResNet), or all. ReCAM "
        "freezes the stem, IRN everything up to layer2.",
        "Training",
    )

    patience: int = option(
        5,
        "End the training when so many epochs bring no lower held-out loss, and use the weights of the best one; 0: "
        "never. It has no effect with too few held-out photos to tell, or with no more epochs than this.",
        "Training",
        min=0,
        before=0,
    )

    @property
    def head_rate(self) -> float:
        """The learning rate of the newest part of the network."""
        return self.lr_head if self.lr_head is not None else 10 * self.lr


@dataclass(frozen=True, kw_only=True)
class TrainClsConfig(TrainingOptions):
    """Train the multi-label classifier whose weights make class activation maps."""

    fit: Literal["sgd", "lda"] = option(
        "sgd",
        "sgd trains the network; lda leaves it as it is and computes both classifiers in one pass over the photos, in "
        "seconds to minutes; it needs no reactivate.",
        "Training",
    )
    start: Literal["random", "lda"] = option(
        "random",
        "What the classifier of --fit sgd begins with: random numbers, or lda, the first classifier of --fit lda.",
        "Training",
    )
    class_weights: Literal["none", "balanced"] = option(
        "none",
        "balanced: in the loss, the photos with a class weigh as much in total as those without it (at most "
        "20 times as much each), so that rare tags count.",
        "Training",
        before="none",
    )
    epochs: int = option(
        0, "Passes over the photos; 0: 5, or more where --min-steps asks for more.", "Training", min=0, first=True
    )
    min_steps: int = option(
        100, "Without --epochs: passes are added until there are this many steps.", "Training", min=1, role="free"
    )
    backbone: str = option("resnet50", "Backbone: a torchvision ResNet, such as resnet18, or timm:NAME.", "Network")
    backbone_weights: Path | None = option(
        None,
        "Initial weights: a file of pseudomask, or of torchvision or timm (safetensors or .pth); imagenet, which comes "
        "with pseudomask; or torchvision, downloaded. By default imagenet for resnet50, else the published ones.",
        "Network",
        role="place",
        first=True,
    )
    backbone_style: Style | None = option(
        None,
        "Convolution that has the stride: the 3×3 (pytorch) or the first 1×1 (caffe); by default what the initial "
        "weights say, else pytorch.",
        "Network",
    )
    output_stride: int | None = option(None, "Photo pixels per map cell: 16 if possible, or 8 (slower).", "Network")

    @property
    def head_rate(self) -> float:
        """The learning rate of the classifier: what begins in closed form is nearly in its place."""
        return self.lr if self.lr_head is None and self.start == "lda" else super().head_rate


@dataclass(frozen=True, kw_only=True)
class ReactivateConfig(TrainingOptions, TrainingCamOptions):
    """Train ReCAM's second classifier on features pooled under each class's map."""

    weights: Path | None = option(None, "Weights from train-cls.", "Network", role="place", first=True, needed=True)
    sce_weight: float = option(
        1.0, "λ: weight of the softmax loss; the paper uses 1 for VOC, 0.1 for COCO.", "Training", min=0.0
    )
    contrast: bool | None = option(
        None,
        "Make the background a further class of the softmax; by default only if the tags leave nothing else to tell "
        "apart, as with one class.",
        "Training",
    )
    min_steps: int = option(
        100, "With --contrast: epochs are added until there are this many steps.", "Training", min=1
    )
    epochs: int = option(2, "Passes over the photos.", "Training", min=1, first=True)
    lr: float = option(5e-5, "Learning rate of the first classifier and the unfrozen backbone.", "Training", min=0.0)
    lr_head: float | None = option(0.1, "Learning rate of the second classifier.", "Training", min=0.0)
    freeze: str = option(
        "all",
        "Freeze the backbone up to this point: none, stem, a stage, or all. all works best on small data sets; the "
        "paper freezes the stem only: --freeze stem --epochs 4 --lr-head 5e-4.",
        "Training",
    )
