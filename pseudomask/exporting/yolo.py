"""YOLO's segmentation labels: a polygon a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pseudomask.exporting.polygons import outline
from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer, write_lines
from pseudomask.quoting import double_quoted, shell_word, yaml_word


class Yolo(Writer):
    """images/SPLIT, labels/SPLIT and data.yaml. Each part of a class is an object; a hole is joined by a cut."""

    flat = True  # readers look for labels beside a path's last `images`, and some into no folders
    language = "text"

    def photo(self, piece: Piece) -> Path:
        return self.folder / "images" / piece.split / self.file_name(piece)

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        size = np.array(mask.shape[::-1])  # (W, H), as points are (x, y)
        lines = []
        for index in self.present(mask):
            found = outline(mask == index)
            self.counts.update(regions=1, parts=len(found.parts), holes=found.holes, thin=found.thin)
            for part in found.parts:
                # Off the pixel's edge and middle: readers that cut off decimals and those that round find it again.
                points = ((part + 0.25) / size).ravel().tolist()
                lines.append(" ".join([str(index - 1), *(f"{value:.6f}" for value in points)]))
        write_lines(self.folder / "labels" / piece.split / f"{self.names[piece.key]}.txt", lines)

    def finish(self) -> None:
        first, last = self.splits[0], self.splits[-1]
        lines = [f"train: {yaml_word(f'images/{first}')}", f"val: {yaml_word(f'images/{last}')}"]
        if first == last:
            lines[1] += "  # nothing was held out: see --val-fraction and --val-list of pseudomask export"
        names = [f"  {index}: {double_quoted(name)}" for index, name in enumerate(self.classes)]
        write_lines(self.folder / "data.yaml", [*lines, "names:", *names])

    def paste(self, folder: str) -> str:
        return f"yolo segment train data={shell_word(f'{folder}/data.yaml')}"

    def lost(self) -> list[str]:
        counts = self.counts
        found = [f"{counts['regions']} regions became {counts['parts']} objects, for each part is one"]
        if counts["holes"]:
            found.append(f"{counts['holes']} holes are joined to their outline by a cut of no width")
        if counts["thin"]:
            found.append(f"{counts['thin']} pixels in parts too thin for a polygon: left out")
        return [*found, *self.lost_ignored()]
