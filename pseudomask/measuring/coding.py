"""What the numbers or colours in mask files mean: class indices, unless a value map or a colour table is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pseudomask.errors import UsageError
from pseudomask.masks import MaskFile, palette, read_mask_file
from pseudomask.quoting import count

Side = Literal["truth", "pred"]
UNKNOWN = -1  # index of a colour that the table names, but not as a class


@dataclass(frozen=True, eq=False)
class Coding:
    """How the masks of one folder are read.

    Attributes:
        side: the folder, as named in its options; `description`: the coding in words.
        values: class index of each value 0..65535; None if values are class indices.
        named: values that the map lists, bool (65536,).
        colours: (codes, indices), both int64 (k,): codes 65536 R + 256 G + B, ascending; index -1 is no class.
        unlisted: for the colours with index -1, by code: what they are and what to do.
    """

    side: Side
    description: str = "class indices"
    values: np.ndarray | None = None
    named: np.ndarray | None = None
    colours: tuple[np.ndarray, np.ndarray] | None = None
    unlisted: dict[int, str] | None = None

    @property
    def plain(self) -> bool:
        """Whether values are taken for class indices by default."""
        return self.values is None and self.colours is None

    def defines(self, value: int) -> bool:
        """Whether the user said what this value means."""
        return self.colours is not None or (self.named is not None and bool(self.named[value]))

    def read(self, path: Path) -> tuple[np.ndarray, bool]:
        """The label map of a file, unsigned integers (H, W), and whether its palette contradicts its numbers.

        Raises UsageError if the file has colours without a table, or a colour that is not in the table; ImageError if
        it cannot be read.
        """
        file = read_mask_file(path)
        if file.by_alpha:
            raise UsageError(
                f"{path}: has one colour and differs only in transparency; save the transparency as a grey PNG"
            )
        if self.colours is not None:
            return self._by_colour(path, file), False
        if self.values is not None:
            return self.values[_grey(path, file, self.side)], False
        if file.values is None:
            raise UsageError(f"{path}: {_describe_colours(file)}; {_advice(file, self.side)}")
        return file.values, _palette_contradicts(file)

    def _by_colour(self, path: Path, file: MaskFile) -> np.ndarray:
        assert self.colours is not None
        pixels = file.in_colours()
        if pixels is None:
            raise UsageError(f"{path}: contains 16-bit values, not colours; leave out --{self.side}-palette")
        wide = pixels.astype(np.int64)
        codes = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        known, indices = self.colours
        position = np.searchsorted(known, codes).clip(max=len(known) - 1)
        found = np.where(known[position] == codes, indices[position], UNKNOWN)
        unknown = codes[found == UNKNOWN]
        if unknown.size:
            raise UsageError(f"{path}: {self._unknown_colour(unknown)}")
        return found.astype(np.uint16)

    def _unknown_colour(self, codes: np.ndarray) -> str:
        colours, pixels = np.unique(codes, return_counts=True)
        most = int(colours[pixels.argmax()])
        what = (self.unlisted or {}).get(most)
        colour = f"#{most:06x} ({most >> 16} {most >> 8 & 255} {most & 255})"
        if what is not None:
            return f"the colour {colour} is {what}"
        if len(colours) > 64:
            return f"{len(colours)} colours are not in the table, as in photos and in resized or JPEG masks"
        size = count(int(pixels.max()), "pixel")
        return f"the colour {colour} of {size} is not in the table of --{self.side}-palette"


def _grey(path: Path, file: MaskFile, side: Side) -> np.ndarray:
    """The numbers in a file, even if stored as grey in three channels."""
    if file.values is not None:
        return file.values
    assert file.colours is not None
    if not _is_grey(file.colours):
        raise UsageError(f"{path}: {_describe_colours(file)}, which --{side}-map cannot name; use --{side}-palette")
    return file.colours[..., 0]


def _is_grey(colours: np.ndarray) -> bool:
    return bool((colours == colours[..., :1]).all())


def _describe_colours(file: MaskFile) -> str:
    assert file.colours is not None
    if _is_grey(file.colours):
        return f"contains colours ({file.mode}, all of them grey), not class indices"
    many = len(np.unique(file.colours.reshape(-1, 3), axis=0))
    like = ", like a photo, an overlay or a JPEG mask" if many > 300 else ""
    return f"contains colours ({file.mode}, {many} different ones{like}), not class indices"


def _advice(file: MaskFile, side: Side) -> str:
    assert file.colours is not None
    if _is_grey(file.colours):
        return f"give the meaning of the levels with --{side}-map, such as 255=CLASS"
    return f"give the meaning of the colours with --{side}-palette voc, or a FILE of lines `R G B NAME`"


def _palette_contradicts(file: MaskFile) -> bool:
    """Whether the palette's colours stand for other classes than the indices of the pixels.

    This happens if an image optimiser renumbers VOC's colours, or stores a black background as an index other than 0.
    """
    if file.palette is None or file.values is None:
        return False
    present = np.flatnonzero(np.bincount(file.values.ravel(), minlength=256))
    present = present[present < len(file.palette)]
    used, table = file.palette[present], palette()
    if np.array_equal(used, table[present]):
        return False
    codes = [colour_code(colour) for colour in used]
    black = [int(index) for index, code in zip(present, codes, strict=True) if code == 0 and index != 255]
    if black and 0 in present and 0 not in black:
        return True
    known = {colour_code(colour) for colour in [*table[:21], table[255]]}
    return known.issuperset(codes)


def colour_code(rgb: np.ndarray) -> int:
    red, green, blue = (int(value) for value in rgb)
    return red << 16 | green << 8 | blue
