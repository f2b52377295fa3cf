"""The base class of export formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from pseudomask.config import ExportConfig
from pseudomask.errors import UsageError
from pseudomask.exporting.names import no_utf8
from pseudomask.exporting.photo import PhotoDecoding, suffix_of
from pseudomask.exporting.source import VAL, Piece, Source
from pseudomask.masks import ignore_index, palette, save_mask, stored_in_bytes
from pseudomask.quoting import count


@dataclass
class Writer:
    """Writes one export; each format is a subclass.

    Attributes:
        folder: where the export is built.
        classes: foreground names; mask index i is `classes[i - 1]`.
        pieces: what to export; `names`: the name of each in the export, by key.
        decoding: how the masks' run decoded its photos.
        written: the pieces written so far, by split.
        counts: what to report, such as the number of ignored pixels.
    """

    flat: ClassVar[bool] = False
    """Whether photos lose their folders, because the format or its common readers do not support them."""
    wide: ClassVar[bool] = True
    """Whether more than 254 classes are supported."""
    with_photos: ClassVar[bool] = True
    """Whether the export needs the photos."""
    language: ClassVar[str] = "python"
    """The language of the lines to paste, for Markdown."""

    folder: Path
    classes: tuple[str, ...]
    pieces: Sequence[Piece]
    names: dict[str, str]
    decoding: PhotoDecoding = field(default_factory=PhotoDecoding)
    written: dict[str, list[Piece]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _suffixes: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Start; `folder` exists and is empty."""

    @staticmethod
    def fault(name: str) -> str | None:
        """Why this format cannot represent a photo's name; None if it can."""
        return no_utf8(name)

    @staticmethod
    def class_fault(name: str) -> str | None:
        """Why this format cannot represent a class name; None if it can."""
        return None

    def photo(self, piece: Piece) -> Path | None:
        """Where to write a piece's photo; None if the format has no photos."""
        raise NotImplementedError

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        """Write a piece's labels, after its photo. mask: uint8 or uint16 (H, W), with valid values only."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write the files about all pieces: lists, settings."""

    @classmethod
    def check(cls, config: ExportConfig) -> None:
        """Raise `UsageError` for settings that this format does not have, before any work."""
        for name in ("license", "measured", "publish_weights"):
            if getattr(config, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} is for --format hub; leave it out")

    def publish(self, source: Source, config: ExportConfig) -> None:
        """Add to the finished export what its format has for readers; nothing, usually."""

    def close(self) -> None:
        """Close open files; always called, last."""

    def paste(self, folder: str) -> str:
        """The lines for a trainer's config, or the call that reads the export in `folder`."""
        raise NotImplementedError

    def losses(self) -> list[str]:
        """What the format cannot represent, one sentence each."""
        return []

    def front_matter(self) -> str:
        """The beginning of the export's README.md."""
        return ""

    @property
    def ignore(self) -> int:
        return ignore_index(len(self.classes))

    @property
    def splits(self) -> list[str]:
        """Names of the lists that are not empty, the held-out one last."""
        return sorted(self.written, key=lambda name: name == VAL)

    @property
    def all_classes(self) -> tuple[str, ...]:
        return ("background", *self.classes)

    def file_name(self, piece: Piece) -> str:
        """The name of the photo's file in the export."""
        return self.names[piece.key] + self.suffix_of(piece)

    def suffix_of(self, piece: Piece) -> str:
        """The suffix of the photo's file, if the format allows several."""
        if piece.key not in self._suffixes:
            assert piece.photo is not None
            self._suffixes[piece.key] = suffix_of(piece.photo, self.decoding)
        return self._suffixes[piece.key]

    def present(self, mask: np.ndarray) -> list[int]:
        """Mask indices of the classes in a mask, ascending; ignored pixels are counted."""
        counts = np.bincount(mask.ravel(), minlength=self.ignore + 1)
        self.counts["ignored"] += int(counts[self.ignore])
        return [int(index) for index in np.flatnonzero(counts[: len(self.classes) + 1]) if index > 0]

    def ignored_pixels(self, what: str = "were left out") -> list[str]:
        """A sentence about ignored pixels, if there are any."""
        n = self.counts["ignored"]
        return [f"{count(n, 'ignored pixel')} {what}"] if n else []


def colours(classes: int) -> list[list[int]]:
    """VOC's colours for background and the classes, [[R, G, B], …]."""
    found: list[list[int]] = palette(max(256, classes + 1))[: classes + 1].tolist()
    return found


def copy_mask(piece: Piece, mask: np.ndarray, target: Path) -> None:
    """Copy the mask's file, or re-encode it if some programs would read other values."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = piece.mask.read_bytes()
    if stored_in_bytes(content):
        target.write_bytes(content)  # on a full disk, shutil's error would name the source
    else:
        save_mask(target, mask)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", errors="surrogateescape")
