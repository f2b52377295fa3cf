"""The settings of import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import argument, option
from pseudomask.config.training import Style


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Turn a classifier trained elsewhere into weights for extract."""

    file: Path = argument(
        "Checkpoint to read: safetensors, or a .pth file, of which only tensors are read; or timm:NAME or "
        "torchvision:NAME, which is downloaded once."
    )
    out: Path = argument("Weights file to write (.safetensors).", role="free")
    classes: str | None = option(
        None,
        "Class names in the classifier's order: a file with one per line, or voc, coco or imagenet.",
        "Input",
        metavar="FILE|SET",
        role="place",
        first=True,
    )
    second: Path | None = option(
        None,
        "Checkpoint of ReCAM's second classifier (recam_predictor_4.pth), for --method recam.",
        "Input",
        role="place",
        first=True,
    )
    backbone: str | None = option(
        None, "Network of the checkpoint, such as timm:NAME; by default the ResNet that fits.", "Network", first=True
    )
    backbone_style: Style = option(
        "pytorch",
        "Convolution that has the stride: the 3×3 (pytorch) or the first 1×1 (caffe); no file says which.",
        "Network",
    )
    output_stride: int | None = option(
        None, "Photo pixels per map cell: 16 (default, where possible), or 8: finer, four times slower.", "Network"
    )
    license: str = option("unknown", "License of the weights, written to their card.", "Output")
    weights_dtype: Literal["fp16", "fp32"] = option("fp32", "Precision of the written weights.", "Output")
    overwrite: bool = option(False, "Replace OUT.", "Run", role="free", first=True)
    dry_run: bool = option(False, "Check the checkpoint, print what it is, and stop.", "Run", role="free", first=True)
