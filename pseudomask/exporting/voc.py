"""The VOC devkit, as torchvision's `VOCSegmentation` and weakly supervised code read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer, copy_mask, write_lines


class Voc(Writer):
    """VOCdevkit/VOC2012 with JPEG photos, masks in SegmentationClass and SegmentationClassAug, and lists."""

    flat = True
    wide = False

    @property
    def root(self) -> Path:
        return self.folder / "VOCdevkit" / "VOC2012"

    def photo(self, piece: Piece) -> Path:
        return self.root / "JPEGImages" / f"{self.names[piece.key]}.jpg"

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        first, second = (
            self.root / name / f"{self.names[piece.key]}.png" for name in ("SegmentationClass", "SegmentationClassAug")
        )
        copy_mask(piece, mask, first)
        second.parent.mkdir(exist_ok=True)
        try:
            second.hardlink_to(first)  # torchvision reads the one, weakly supervised code the other
        except OSError:
            copy_mask(piece, mask, second)

    def finish(self) -> None:
        for split in self.splits:
            names = [self.names[piece.key] for piece in self.written[split]]
            write_lines(self.root / "ImageSets" / "Segmentation" / f"{split}.txt", names)

    def paste(self, folder: str) -> str:
        first = self.splits[0]
        return "\n".join(
            [
                "import torch",
                "from torchvision.datasets import VOCSegmentation",
                "",
                f"data = VOCSegmentation({folder!r}, year='2012', image_set={first!r})  # (photo, mask), both PIL",
                f"classes = {self.all_classes!r}  # a mask's values; 255 is ignored",
                "loss = torch.nn.CrossEntropyLoss(ignore_index=255)",
            ]
        )
