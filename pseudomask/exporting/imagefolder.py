"""Hugging Face's imagefolder: `datasets.load_dataset(DEST)`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer, copy_mask, write_lines
from pseudomask.quoting import yaml_word

_SPLITS = {"val": "validation"}
"""The library's names of splits."""


class Imagefolder(Writer):
    """SPLIT/metadata.jsonl, which pairs images/ with masks/, and a README.md that names the splits."""

    def _split(self, piece: Piece) -> Path:
        return self.folder / "data" / _SPLITS.get(piece.split, piece.split)

    def photo(self, piece: Piece) -> Path:
        return self._split(piece) / "images" / self.file_name(piece)

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        copy_mask(piece, mask, self._split(piece) / "masks" / f"{self.names[piece.key]}.png")

    def finish(self) -> None:
        for split in self.splits:
            pieces = self.written[split]
            rows = [
                {"file_name": f"images/{self.file_name(piece)}", "mask_file_name": f"masks/{self.names[piece.key]}.png"}
                for piece in pieces
            ]
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            write_lines(self._split(pieces[0]) / "metadata.jsonl", lines)

    def front_matter(self) -> str:
        lines = ["---", "task_categories:", "- image-segmentation"]
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for split in self.splits:
            name = _SPLITS.get(split, split)
            lines += [f"  - split: {yaml_word(name)}", f"    path: {yaml_word(f'data/{name}/**')}"]
        return "\n".join([*lines, "---", "", ""])

    def paste(self, folder: str) -> str:
        first = _SPLITS.get(self.splits[0], self.splits[0])
        return "\n".join(
            [
                "import torch",
                "from datasets import load_dataset",
                "",
                f"data = load_dataset({folder!r}, split={first!r})  # columns: image, mask",
                f"id2label = {dict(enumerate(self.all_classes))!r}",
                f"loss = torch.nn.CrossEntropyLoss(ignore_index={self.ignore})  # and do_reduce_labels=False",
            ]
        )
