"""mmsegmentation's own layout: photos and masks of the same name in two trees."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from pseudomask.exporting.photo import KINDS
from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer, colours, copy_mask


class Mmseg(Writer):
    """img_dir/SPLIT and ann_dir/SPLIT. All photos need one suffix: their own if they share it, else .jpg or .png."""

    wide = False

    @staticmethod
    def fault(name: str) -> str | None:
        return None  # mmsegmentation lists the folder, so no file contains names

    @cached_property
    def suffix(self) -> str:
        (only, *others) = found = {self.suffix_of(piece) for piece in self.pieces}
        if not others:
            return only
        return ".jpg" if any(KINDS[suffix.lower()] == "JPEG" for suffix in found) else ".png"

    def photo(self, piece: Piece) -> Path:
        return self.folder / "img_dir" / piece.split / f"{self.names[piece.key]}{self.suffix}"

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        copy_mask(piece, mask, self.folder / "ann_dir" / piece.split / f"{self.names[piece.key]}.png")

    def paste(self, folder: str) -> str:
        lines = [
            f"num_classes = {len(self.all_classes)}  # of decode_head and auxiliary_head; includes background",
            f"metainfo = dict(classes={self.all_classes!r}, palette={colours(len(self.classes))!r})",
        ]
        for split in self.splits:
            lines += [
                f"{split}_dataset = dict(" if split.isidentifier() else "dataset = dict(",
                "    type='BaseSegDataset',",
                f"    data_root={folder!r},",
                f"    data_prefix=dict(img_path={f'img_dir/{split}'!r}, seg_map_path={f'ann_dir/{split}'!r}),",
                f"    img_suffix={self.suffix!r},",
                "    seg_map_suffix='.png',",
                "    metainfo=metainfo,",
                "    reduce_zero_label=False,",
                "    ignore_index=255,",
                ")",
            ]
        return "\n".join(lines)
