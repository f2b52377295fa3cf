"""What the formats have in common: an export's facts, and the interface that each format fills."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from pseudomask.exporting.names import no_utf8
from pseudomask.exporting.photo import AsSeen, suffix_of
from pseudomask.exporting.source import VAL, Piece
from pseudomask.masks import ignore_index, palette, save_mask, stored_in_bytes


@dataclass
class Writer:
    """One format at work; a subclass a format.

    Attributes:
        folder: where the export is built.
        classes: foreground names; mask index i is `classes[i - 1]`.
        pieces: all that is to be exported; names: what each is called, by key.
        seen: how the masks' run read its photos.
        written: the pieces that are in, of each split.
        counts: counts for people, such as ignored pixels that were left out.
    """

    flat: ClassVar[bool] = False
    """Whether photos lose their folders, because the format or a common reader of it knows none."""
    wide: ClassVar[bool] = True
    """Whether more than 254 classes fit."""
    with_photos: ClassVar[bool] = True
    """Whether the export holds photos, or at least wants to see them."""
    language: ClassVar[str] = "python"
    """Of the lines to paste."""

    folder: Path
    classes: tuple[str, ...]
    pieces: Sequence[Piece]
    names: dict[str, str]
    seen: AsSeen = field(default_factory=AsSeen)
    written: dict[str, list[Piece]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _suffixes: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Begin; `folder` is there and empty."""

    @staticmethod
    def fault(name: str) -> str | None:
        """What keeps a photo's name out of this format, if anything."""
        return no_utf8(name)

    @staticmethod
    def class_fault(name: str) -> str | None:
        """What keeps a class's name out of this format, if anything."""
        return None

    def photo(self, piece: Piece) -> Path | None:
        """Where a piece's photo goes; None where the format holds no photos."""
        raise NotImplementedError

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        """Write a piece's labels; its photo is in place. mask: uint8 or uint16 (H, W), all values known."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what stands for all pieces: lists, settings."""

    def close(self) -> None:
        """Let go of open files; called last, whatever happened."""

    def paste(self, folder: str) -> str:
        """The lines for a trainer's config, or the call that reads the export, which lies at `folder`."""
        raise NotImplementedError

    def lost(self) -> list[str]:
        """What the format has no room for, a sentence each."""
        return []

    def front_matter(self) -> str:
        """What must stand before all else in the export's README.md."""
        return ""

    @property
    def ignore(self) -> int:
        return ignore_index(len(self.classes))

    @property
    def splits(self) -> list[str]:
        """Names of the lists that hold a piece, the held-out one last."""
        return sorted(self.written, key=lambda name: name == VAL)

    @property
    def all_classes(self) -> tuple[str, ...]:
        return ("background", *self.classes)

    def file_name(self, piece: Piece) -> str:
        """The photo's name with the suffix of what its file becomes."""
        return self.names[piece.key] + self.suffix_of(piece)

    def suffix_of(self, piece: Piece) -> str:
        """The suffix that a photo would have by itself."""
        if piece.key not in self._suffixes:
            assert piece.photo is not None
            self._suffixes[piece.key] = suffix_of(piece.photo, self.seen)
        return self._suffixes[piece.key]

    def present(self, mask: np.ndarray) -> list[int]:
        """Mask indices of the classes in a mask, ascending; pixels to ignore are counted as left out."""
        counts = np.bincount(mask.ravel(), minlength=self.ignore + 1)
        self.counts["ignored"] += int(counts[self.ignore])
        return [int(index) for index in np.flatnonzero(counts[: len(self.classes) + 1]) if index > 0]

    def lost_ignored(self, what: str = "left out") -> list[str]:
        """The sentence about pixels to ignore, where there are any."""
        count = self.counts["ignored"]
        return [f"{count} pixels marked ignore: {what}"] if count else []


def colours(classes: int) -> list[list[int]]:
    """VOC's colours of background and the classes, [[R, G, B], …]."""
    found: list[list[int]] = palette(max(256, classes + 1))[: classes + 1].tolist()
    return found


def copy_mask(piece: Piece, mask: np.ndarray, target: Path) -> None:
    """The mask's own bytes, so that nothing is lost; a file that readers would show otherwise is written again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = piece.mask.read_bytes()
    if stored_in_bytes(content):
        target.write_bytes(content)  # shutil would blame the mask for a full disk
    else:
        save_mask(target, mask)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """A text file in UTF-8, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", errors="surrogateescape")
