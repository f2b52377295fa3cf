"""Tasks for Label Studio, the masks as predictions with their scores."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from pseudomask._version import __version__
from pseudomask.exporting.brush import brush_code
from pseudomask.exporting.confidence import confidences, unscored
from pseudomask.exporting.names import no_line
from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer, colours
from pseudomask.quoting import shell_word


class Labelstudio(Writer):
    """images/, tasks_SPLIT.json and config.xml, the labelling interface. Photos are served as local files."""

    language = "text"

    @staticmethod
    def class_fault(name: str) -> str | None:
        return no_line(name)

    def __post_init__(self) -> None:
        self.tasks: dict[str, list[dict[str, Any]]] = {}

    def photo(self, piece: Piece) -> Path:
        return self.folder / "images" / self.file_name(piece)

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        sure = confidences(piece, mask, self.counts)
        height, width = mask.shape
        results = []
        for index in self.present(mask):
            result: dict[str, Any] = {
                "id": f"class{index}",
                "type": "brushlabels",
                "from_name": "mask",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": brush_code(mask == index),
                    "brushlabels": [self.classes[index - 1]],
                },
            }
            results.append(result | ({"score": sure[index]} if index in sure else {}))
        prediction: dict[str, Any] = {"model_version": f"pseudomask {__version__}", "result": results}
        if sure:
            prediction["score"] = round(sum(sure.values()) / len(sure), 4)
        address = f"/data/local-files/?d=images/{quote(self.file_name(piece))}"
        self.tasks.setdefault(piece.split, []).append({"data": {"image": address}, "predictions": [prediction]})

    def finish(self) -> None:
        for split in self.splits:
            with (self.folder / f"tasks_{split}.json").open("w", encoding="ascii") as stream:
                json.dump(self.tasks[split], stream)
        table = colours(len(self.classes))[1:]
        labels = [
            f'    <Label value="{escape(name)}" background="#{red:02x}{green:02x}{blue:02x}"/>'
            for name, (red, green, blue) in zip(self.classes, table, strict=True)
        ]
        lines = [
            "<View>",
            '  <Image name="image" value="$image"/>',
            '  <BrushLabels name="mask" toName="image">',
            *labels,
            "  </BrushLabels>",
            "</View>",
        ]
        (self.folder / "config.xml").write_text("\n".join([*lines, ""]), encoding="utf-8")

    def paste(self, folder: str) -> str:
        files = ", ".join(f"{folder}/tasks_{split}.json" for split in self.splits)
        return (
            "export LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true\n"
            f"export LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shell_word(folder)}\n"
            "label-studio start\n"
            f"In Label Studio: a project with the labelling interface {folder}/config.xml; "
            f"in its settings, Cloud Storage > Local files with the path {folder}/images;\n"
            f"then Import > {files}"
        )

    def losses(self) -> list[str]:
        return [*self.ignored_pixels(), *unscored(self.counts)]
