"""The settings of train-seg, predict and export-model: the segmentation network that is trained on masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pseudomask.config.common import (
    DecodeOptions,
    DeviceOptions,
    FolderOptions,
    LabelOptions,
    PhotoListOptions,
    UpdateOptions,
    argument,
    option,
)
from pseudomask.config.review import ReviewOptions
from pseudomask.config.training import ScheduleOptions, Style
from pseudomask.errors import UsageError

HEADS = ("deeplabv3", "lraspp")
"""The heads; a network is called HEAD_BACKBONE, as in torchvision."""


@dataclass(frozen=True, kw_only=True)
class SegmenterScheduleOptions(ScheduleOptions):
    """The schedule of a segmentation network (docs/segmenter.md)."""

    epochs: int = option(30, "Passes over the photos.", "Training", min=1, first=True)
    batch_size: int = option(8, "Photos per step.", "Training", min=1, first=True)
    crop: int = option(321, "Side of the square training crop, in pixels.", "Training", min=32, first=True)
    min_side: int | None = option(
        None,
        "Minimum of the random long side that a photo is scaled to before the crop; by default the crop.",
        "Training",
        min=16,
    )
    max_side: int | None = option(
        None,
        "Maximum of the random long side that a photo is scaled to before the crop; by default 2.25 × crop.",
        "Training",
        min=16,
    )
    lr: float = option(0.002, "Learning rate of the backbone.", "Training", min=0.0, first=True)
    lr_head: float | None = option(
        None, "Learning rate of the segmentation head; by default 10 × --lr.", "Training", min=0.0
    )
    momentum: float = option(0.9, "Momentum of SGD.", "Training", min=0.0, max=0.999)
    freeze: str | None = option(
        None,
        "Freeze the backbone up to this point: none, stem, a stage (layer1 to layer4 of a ResNet), or all; by default "
        "the first stage.",
        "Training",
    )

    USUAL_SIDES: ClassVar[tuple[float, float]] = (1.0, 2.25)

    @property
    def head_rate(self) -> float:
        """The learning rate of the head."""
        return self.lr_head if self.lr_head is not None else 10 * self.lr


@dataclass(frozen=True, kw_only=True)
class TrainSegConfig(ReviewOptions, PhotoListOptions, SegmenterScheduleOptions):
    """Train a segmentation network on masks."""

    masks: Path = argument("Folder of masks: an output of extract or refine, an export (voc, mmseg), or any other.")
    run: Path = argument("Folder for the weights, the checkpoint and the log.", role="free")
    images: Path | None = option(
        None,
        "Folder of the photos; by default the one that the masks were made from.",
        "Input",
        role="place",
        first=True,
    )
    class_file: Path | None = option(
        None,
        "Class names, one per line, `background` first; needed where MASKS has no run.json.",
        "Input",
        role="place",
    )
    val_list: Path | None = option(
        None, "File of held-out photos, on whose masks the network is measured.", "Input", role="place"
    )
    val_fraction: float = option(
        0.05, "Fraction of photos held out if --val-list is not given.", "Input", min=0.0, max=0.9
    )
    ignore_margin: float = option(
        0.0,
        "Ignore pixels where the best score leads the next one (of a class or of the background) by at most this; "
        "needs MASKS/scores.",
        "Training",
        min=0.0,
        max=1.0,
    )
    network: str = option(
        "deeplabv3_resnet50",
        "Network: deeplabv3_ or lraspp_, followed by a backbone such as resnet50, resnet101 or mobilenet_v3_large.",
        "Network",
        first=True,
    )
    backbone_weights: Path | None = option(
        None,
        "Initial weights of the backbone: weights of pseudomask, a safetensors file with torchvision's names, imagenet "
        "or torchvision; by default imagenet for resnet50, else torchvision's ImageNet weights.",
        "Network",
        role="place",
        first=True,
    )
    backbone_style: Style | None = option(
        None,
        "Convolution that has the stride: the 3×3 (pytorch) or the first 1×1 (caffe); by default that of the initial "
        "weights.",
        "Network",
    )
    output_stride: int = option(
        16, "Photo pixels per position of the last stage: 16, or 8 for finer masks at a third of the speed.", "Network"
    )

    @property
    def head(self) -> str:
        """The head's part of the network's name. Raises `UsageError` for an unknown one."""
        return self._parts[0]

    @property
    def backbone(self) -> str:
        """The backbone's part of the network's name."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str]:
        head, _, backbone = self.network.partition("_")
        if head not in HEADS or not backbone:
            raise UsageError(
                f"--network {self.network!r}: unknown; give {' or '.join(f'{one}_BACKBONE' for one in HEADS)}, such as "
                "deeplabv3_resnet50, deeplabv3_resnet101, deeplabv3_mobilenet_v3_large or lraspp_mobilenet_v3_large"
            )
        return head, backbone


@dataclass(frozen=True, kw_only=True)
class PredictConfig(UpdateOptions, FolderOptions, LabelOptions, DeviceOptions, DecodeOptions):
    """Segment photos with a trained segmentation network."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    out: Path = argument("Folder for masks, manifest.jsonl and run.json.", role="free")
    weights: Path | None = option(None, "Weights from train-seg.", "Method", role="place", first=True, needed=True)
    side: int | None = option(
        None,
        "Long side at which photos are segmented, in pixels; 0: each photo's own size; by default as in the training.",
        "Method",
        min=0,
        first=True,
    )
    tile: int = option(
        1024, "Longest side that the network sees at once; larger photos are seen in tiles.", "Method", min=64
    )
    overlap: int = option(128, "Overlap of neighbouring tiles in pixels, where they are blended.", "Method", min=0)
    score_stride: int = option(
        4, "One score per this many pixels of the segmented photo, in each direction.", "Output", min=1, max=16
    )
    scores: bool = option(
        False,
        "Also write OUT/scores/….npz: the share of each class in the mask against the background, for evaluate's sweep "
        "and for refine.",
        "Output",
        role="free",
        first=True,
    )
    score_bits: Literal["8", "16"] = option("8", "Bits per stored score.", "Output")
    batch_size: int = option(4, "Photos of equal size per batch.", "Machine", min=1, role="free")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overlap > self.tile // 2:
            raise UsageError(f"--overlap {self.overlap}: at most half of --tile {self.tile}")


@dataclass(frozen=True, kw_only=True)
class ExportModelConfig:
    """Write a trained segmentation network as an ONNX file."""

    weights: Path = argument("Weights from train-seg.")
    file: Path = argument("The ONNX file to write.", role="free")
    overwrite: bool = option(False, "Replace FILE.", "Run", role="free", first=True)
    dry_run: bool = option(False, "Print what would be done, and stop.", "Run", role="free", first=True)
