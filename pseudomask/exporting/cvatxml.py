"""CVAT's `CVAT for images 1.1`: masks with a score each, to upload into a task that holds the photos."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from pseudomask.exporting.confidence import confidences, unscored
from pseudomask.exporting.names import no_line
from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer, colours, write_lines


class Cvatxml(Writer):
    """annotations.xml, and labels.json: the labels of the task, each with a number `score`."""

    language = "text"

    @staticmethod
    def class_fault(name: str) -> str | None:
        return no_line(name)

    def __post_init__(self) -> None:
        self.images: list[str] = []

    def photo(self, piece: Piece) -> None:
        return None

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        sure = confidences(piece, mask, self.counts)
        height, width = mask.shape
        name = quoteattr(self.file_name(piece))
        subset = quoteattr(piece.split)
        lines = [f'  <image id="{len(self.images)}" name={name} subset={subset} width="{width}" height="{height}">']
        for index in self.present(mask):
            label = quoteattr(self.classes[index - 1])
            lines.append(f'    <mask label={label} source="auto" occluded="0" {_shape(mask == index)} z_order="0">')
            if index in sure:
                lines.append(f'      <attribute name="score">{sure[index]:g}</attribute>')
            lines.append("    </mask>")
        self.images.append("\n".join([*lines, "  </image>"]))

    def finish(self) -> None:
        head = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
        head += ["  <meta>", "    <task>", "      <labels>"]  # other readers take the labels from here
        attribute = "<attribute><name>score</name><input_type>text</input_type></attribute>"
        head += [
            f"        <label><name>{escape(name)}</name><attributes>{attribute}</attributes></label>"
            for name in self.classes
        ]
        subsets = [f"      <subset>{escape(split)}</subset>" for split in self.splits]
        head += ["      </labels>", *subsets, "    </task>", "  </meta>"]
        write_lines(self.folder / "annotations.xml", [*head, *self.images, "</annotations>"])
        score = {
            "name": "score",
            "input_type": "text",
            "mutable": False,
            "default_value": "",
            "values": [""],
        }
        labels = [
            {"name": name, "color": "#{:02x}{:02x}{:02x}".format(*colour), "type": "mask", "attributes": [score]}
            for name, colour in zip(self.classes, colours(len(self.classes))[1:], strict=True)
        ]
        write_lines(self.folder / "labels.json", [json.dumps(labels, indent=2)])

    def paste(self, folder: str) -> str:
        return (
            f"In CVAT: a task with the same photos, its labels pasted as Raw from {folder}/labels.json;\n"
            f"then Actions > Upload annotations > CVAT 1.1 > {folder}/annotations.xml"
        )

    def losses(self) -> list[str]:
        told = self.ignored_pixels("became background, because CVAT has no label for them")
        return [*told, *unscored(self.counts)]


def _shape(region: np.ndarray) -> str:
    """The attributes of a region, bool (H, W): its box, and the runs outside and inside it in turn, row by row."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    top, left = int(rows[0]), int(columns[0])
    box = region[top : rows[-1] + 1, left : columns[-1] + 1]
    flat = np.concatenate([[False], box.ravel()])  # the first run is outside, if need be of length 0
    borders = np.flatnonzero(np.diff(flat))
    runs = np.diff(np.concatenate([[0], borders, [box.size]]))
    height, width = box.shape
    text = ", ".join(map(str, runs.tolist()))
    return f'rle="{text}" left="{left}" top="{top}" width="{width}" height="{height}"'
