"""COCO JSON with run-length encoded masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from pseudomask._version import __version__
from pseudomask.data.run_lengths import encode
from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer


class Coco(Writer):
    """images/ and annotations/instances_SPLIT.json: one annotation per class in a photo, none for background."""

    def __post_init__(self) -> None:
        self.images: dict[str, list[dict[str, Any]]] = {}
        self.annotations: dict[str, list[dict[str, Any]]] = {}
        self.numbers = {piece.key: number for number, piece in enumerate(self.pieces, start=1)}
        self.count = 0

    def photo(self, piece: Piece) -> Path:
        return self.folder / "images" / self.file_name(piece)

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        image = self.numbers[piece.key]
        height, width = mask.shape
        self.images.setdefault(piece.split, []).append(
            {"id": image, "file_name": self.file_name(piece), "height": height, "width": width}
        )
        found = self.annotations.setdefault(piece.split, [])
        for index in self.present(mask):
            code = encode(mask == index)
            self.count += 1
            found.append(
                {
                    "id": self.count,
                    "image_id": image,
                    "category_id": index,
                    "segmentation": code,
                    "area": int(coco_mask.area(code)),
                    "bbox": [int(side) for side in coco_mask.toBbox(code)],
                    "iscrowd": 0,
                }
            )

    def finish(self) -> None:
        folder = self.folder / "annotations"
        folder.mkdir(exist_ok=True)
        for split in self.splits:
            content = {
                "info": {"description": f"pseudo masks, made by pseudomask {__version__}"},
                "licenses": [],
                "categories": [{"id": i, "name": name} for i, name in enumerate(self.classes, start=1)],
                "images": self.images[split],
                "annotations": self.annotations[split],
            }
            with (folder / f"instances_{split}.json").open("w", encoding="ascii") as stream:
                json.dump(content, stream)

    def paste(self, folder: str) -> str:
        lines = ["from detectron2.data.datasets import register_coco_instances", ""]
        for split in self.splits:
            file = f"{folder}/annotations/instances_{split}.json"
            lines.append(f"register_coco_instances({f'pseudo_{split}'!r}, {{}}, {file!r}, {folder + '/images'!r})")
        lines += [
            "cfg.INPUT.MASK_FORMAT = 'bitmask'  # run-length codes, not polygons",
            f"cfg.MODEL.ROI_HEADS.NUM_CLASSES = {len(self.classes)}  # category ids are mask indices, from 1",
        ]
        return "\n".join(lines)

    def losses(self) -> list[str]:
        return self.ignored_pixels()
