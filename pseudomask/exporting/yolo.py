"""YOLO's segmentation labels: one polygon per line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pseudomask.exporting.polygons import outline
from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer, write_lines
from pseudomask.quoting import count, double_quoted, shell_word, yaml_word


class Yolo(Writer):
    """images/SPLIT, labels/SPLIT and data.yaml. Each part of a class is an object; holes are joined by a cut."""

    flat = True  # some readers ignore subfolders, and all replace the last `images` in a path by `labels`
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
                # Neither the pixel's edge nor its centre: readers that truncate and readers that round agree.
                points = ((part + 0.25) / size).ravel().tolist()
                lines.append(" ".join([str(index - 1), *(f"{value:.6f}" for value in points)]))
        write_lines(self.folder / "labels" / piece.split / f"{self.names[piece.key]}.txt", lines)

    def finish(self) -> None:
        first, last = self.splits[0], self.splits[-1]
        lines = [f"train: {yaml_word(f'images/{first}')}", f"val: {yaml_word(f'images/{last}')}"]
        if first == last:
            lines[1] += "  # no photos were held out; see --val-fraction and --val-list of pseudomask export"
        names = [f"  {index}: {double_quoted(name)}" for index, name in enumerate(self.classes)]
        write_lines(self.folder / "data.yaml", [*lines, "names:", *names])

    def paste(self, folder: str) -> str:
        return f"yolo segment train data={shell_word(f'{folder}/data.yaml')}"

    def losses(self) -> list[str]:
        counts = self.counts
        found = [f"{count(counts['regions'], 'region')} became {count(counts['parts'], 'object')}, one per part"]
        if counts["holes"]:
            found.append(f"cuts of no width join {count(counts['holes'], 'hole')} to the outlines")
        if counts["thin"]:
            found.append(f"{count(counts['thin'], 'pixel')} in parts too thin for a polygon were left out")
        return [*found, *self.ignored_pixels()]
