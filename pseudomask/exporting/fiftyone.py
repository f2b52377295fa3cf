"""A data set that FiftyOne opens, the masks as predictions with their confidence: COCO's JSON with scores."""

from __future__ import annotations

import numpy as np

from pseudomask.exporting.coco import Coco
from pseudomask.exporting.confidence import confidences, unscored
from pseudomask.exporting.source import Piece


class Fiftyone(Coco):
    """images/ and annotations/instances_SPLIT.json, as in `coco`, with `score` for FiftyOne's `confidence`."""

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        sure = confidences(piece, mask, self.counts)
        before = len(self.annotations.get(piece.split, ()))
        super().add(piece, mask)
        for annotation in self.annotations[piece.split][before:]:
            if annotation["category_id"] in sure:
                annotation["score"] = sure[annotation["category_id"]]

    def paste(self, folder: str) -> str:
        lines = ["import fiftyone as fo", "", "data = fo.Dataset()"]
        for split in self.splits:
            lines += [
                "data.add_dir(",
                "    dataset_type=fo.types.COCODetectionDataset,",
                f"    data_path={folder + '/images'!r},",
                f"    labels_path={f'{folder}/annotations/instances_{split}.json'!r},",
                '    label_types=["segmentations"],',
                '    label_field="predictions",',
                f"    tags={split!r},",
                ")",
            ]
        return "\n".join([*lines, "session = fo.launch_app(data)"])

    def losses(self) -> list[str]:
        return [*super().losses(), *unscored(self.counts)]
