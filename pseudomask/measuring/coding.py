"""What the numbers or colours of mask files mean: class indices, unless a map of values or a colour table says else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pseudomask.data.labels.table import read_text
from pseudomask.errors import LabelError, UsageError
from pseudomask.masks import MaskFile, palette, read_mask_file
from pseudomask.quoting import quoted
from pseudomask.suggest import nearest as nearest_name

Side = Literal["truth", "pred"]
BACKGROUND = "background"
_VALUES = 65_536
_UNKNOWN = -1
_RANGE = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?")
_COLOUR_LINES = (
    re.compile(r"#(?P<hex>[0-9a-fA-F]{6})[\s,;]+(?P<name>\S.*)"),
    re.compile(r"(?P<r>\d{1,3})[\s,;]+(?P<g>\d{1,3})[\s,;]+(?P<b>\d{1,3})[\s,;]+(?P<name>\S.*)"),
    re.compile(r"(?P<name>[^,;]*[^,;\s])\s*[,;]\s*(?P<r>\d{1,3})[\s,;]+(?P<g>\d{1,3})[\s,;]+(?P<b>\d{1,3})"),
)


@dataclass(frozen=True, eq=False)
class Coding:
    """How the masks of one folder are read.

    side: which folder's, as its options say it; values: the class index of each value 0..65535, None for themselves;
    named: the values that the map speaks of, bool (65536,).
    colours: (codes, indices), both int64 (k,), codes 65536 R + 256 G + B ascending; -1 is a name that is no class;
    unlisted: what those colours are and what to do, by code. told: the coding in words.
    """

    side: Side
    told: str = "class indices"
    values: np.ndarray | None = None
    named: np.ndarray | None = None
    colours: tuple[np.ndarray, np.ndarray] | None = None
    unlisted: dict[int, str] | None = None

    @property
    def plain(self) -> bool:
        """Whether values are taken for class indices without anybody having said so."""
        return self.values is None and self.colours is None

    def settles(self, value: int) -> bool:
        """Whether somebody said what this value means."""
        return self.colours is not None or (self.named is not None and bool(self.named[value]))

    def read(self, path: Path) -> tuple[np.ndarray, bool]:
        """The label map of a file, unsigned integers (H, W), and whether its palette contradicts its numbers.

        Raises UsageError where the file holds colours and no table says what they mean, or one that is in no table;
        ImageError where it cannot be read.
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
            raise UsageError(f"{path}: {_what_colours(file)}; {_way_out(file, self.side)}")
        return file.values, _contradicts(file)

    def _by_colour(self, path: Path, file: MaskFile) -> np.ndarray:
        assert self.colours is not None
        pixels = file.in_colours()
        if pixels is None:
            raise UsageError(f"{path}: contains 16-bit values, not colours; leave out --{self.side}-palette")
        wide = pixels.astype(np.int64)
        codes = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        known, indices = self.colours
        position = np.searchsorted(known, codes).clip(max=len(known) - 1)
        found = np.where(known[position] == codes, indices[position], _UNKNOWN)
        lost = codes[found == _UNKNOWN]
        if lost.size:
            raise UsageError(f"{path}: {self._lost(lost)}")
        return found.astype(np.uint16)

    def _lost(self, codes: np.ndarray) -> str:
        colours, pixels = np.unique(codes, return_counts=True)
        most = int(colours[pixels.argmax()])
        what = (self.unlisted or {}).get(most)
        colour = f"#{most:06x} ({most >> 16} {most >> 8 & 255} {most & 255})"
        if what is not None:
            return f"the colour {colour} is {what}"
        if len(colours) > 64:
            return f"{len(colours)} colours are not in the table, as in photos and in resized or JPEG masks"
        return f"the colour {colour} of {pixels.max()} pixels is not in the table of --{self.side}-palette"


def make_coding(
    side: Side, values: str | None, table: str | None, names: tuple[str, ...] | None, ignore: int
) -> Coding:
    """The coding that `--SIDE-map` (values) or `--SIDE-palette` (table) asks for; None are class indices.

    values: `255=cat,0=background,1-9=ignore`, or a file of such entries, one a line. table: `voc`, or a file with a
    colour a line. names: all classes with background first. Raises UsageError for what cannot be understood.
    """
    if values is not None and table is not None:
        raise UsageError(
            f"--{side}-map (for values) and --{side}-palette (for colours) cannot be combined; give one of them"
        )
    if values is not None:
        return _value_coding(side, values, names, ignore)
    if table is None:
        return Coding(side)
    if table == "voc":
        return _voc_coding(side, names, ignore)
    return _table_coding(side, Path(table), names, ignore)


def _value_coding(side: Side, text: str, names: tuple[str, ...] | None, ignore: int) -> Coding:
    option = f"--{side}-map"
    values, named = np.arange(_VALUES, dtype=np.uint16), np.zeros(_VALUES, bool)
    entries = list(_entries(text, option))
    if not entries:
        raise UsageError(f"{option} is empty; write VALUE=CLASS, such as 255=cat")
    for entry in entries:
        left, _, name = (part.strip() for part in entry.partition("="))
        found = _RANGE.fullmatch(left)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not name or low > high or high >= _VALUES:
            raise UsageError(f"{option}: {entry!r} is not VALUE=CLASS or LOW-HIGH=CLASS, such as 255=cat or 1-9=ignore")
        if named[low : high + 1].any():
            raise UsageError(f"{option}: {entry!r} assigns a value twice")
        values[low : high + 1] = _index(name, names, ignore, option)
        named[low : high + 1] = True
    return Coding(side, told=", ".join(entries), values=values, named=named)


def _entries(text: str, option: str) -> Iterator[str]:
    is_file = os.path.isfile(text)  # noqa: PTH113 - a Path raises where a long map is no file's name
    if "=" in text and not is_file:
        yield from (entry.strip() for entry in text.split(",") if entry.strip())
        return
    if not is_file:
        raise UsageError(f"{option} {text!r} is neither VALUE=CLASS, such as 255=cat, nor a file of such lines")
    yield from (line for line, _ in _lines(Path(text)))


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    """Lines that say something, and their numbers."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip() and line.strip() != "#" and not line.strip().startswith(("# ", "#\t")):
            yield line.strip(), number


def _voc_coding(side: Side, names: tuple[str, ...] | None, ignore: int) -> Coding:
    table = palette()
    last = 255 if names is None else min(len(names), 255)
    meaning = {_code(table[index]): index for index in range(last)} | {_code(table[255]): ignore}
    beyond = {_code(table[index]): index for index in range(last, 21)}
    meaning |= dict.fromkeys(beyond, _UNKNOWN)
    unlisted = {
        code: f"number {index} of VOC's, beyond the class list: give --class-file in VOC's order, or --{side}-palette "
        f"FILE with the line `{code >> 16} {code >> 8 & 255} {code & 255} NAME`"
        for code, index in beyond.items()
    }
    return _colour_coding(side, "VOC's colours, by their numbers", meaning, unlisted)


def _table_coding(side: Side, path: Path, names: tuple[str, ...] | None, ignore: int) -> Coding:
    option = f"--{side}-palette"
    if not os.path.isfile(path):  # noqa: PTH113
        raise UsageError(f"{option} {str(path)!r} is neither voc nor a file")
    meaning: dict[int, int] = {}
    unlisted: dict[int, str] = {}
    for line, number in _lines(path):
        found = next((match for one in _COLOUR_LINES if (match := one.fullmatch(line))), None)
        parts = found.groupdict() if found else {}
        rgb = tuple(bytes.fromhex(parts["hex"])) if "hex" in parts else tuple(int(parts.get(k, 256)) for k in "rgb")
        if max(rgb) > 255:
            if not meaning and not unlisted and not any(letter.isdigit() for letter in line):
                continue  # a heading
            raise LabelError(f"{line[:60]!r} is not `R G B NAME`, `#RRGGBB NAME` or `NAME,R,G,B`", path, number)
        code, name = _code(np.array(rgb)), parts["name"].strip()
        try:
            index = _index(name, names, ignore, option)
        except UsageError:
            if names is None:
                raise
            index = _UNKNOWN  # an error only where a mask has the colour: tables list more than is asked for
            unlisted[code] = f"{name!r}, which is not in the class list; map it to ignore to exclude it"
        if meaning.setdefault(code, index) != index:
            raise LabelError(f"assigns the colour of {name!r} twice", path, number)
    if all(index == _UNKNOWN for index in meaning.values()):
        raise UsageError(f"{option} {path}: none of its names is in the class list")
    return _colour_coding(side, f"colours of {path}", meaning, unlisted)


def _colour_coding(side: Side, told: str, meaning: dict[int, int], unlisted: dict[int, str]) -> Coding:
    codes = np.array(sorted(meaning), np.int64)
    indices = np.array([meaning[int(code)] for code in codes], np.int64)
    return Coding(side, told=told, colours=(codes, indices), unlisted=unlisted)


def _code(rgb: np.ndarray) -> int:
    red, green, blue = (int(value) for value in rgb)
    return red << 16 | green << 8 | blue


def _index(name: str, names: Sequence[str] | None, ignore: int, option: str) -> int:
    """The class index of a name, of `ignore`, or of a number that is no name."""
    if names is not None and name in names:
        return names.index(name)
    if name == "ignore":
        return ignore
    if name == BACKGROUND:
        return 0
    if name.isascii() and name.isdigit() and int(name) < (_VALUES if names is None else len(names)):
        return int(name)
    if names is None:
        raise UsageError(f"{option}: there is no class list to find {name!r} in; give --class-file")
    near = nearest_name(name, names, cutoff=0.5)
    hint = f"; did you mean {quoted(near)}?" if near else "; use a class of the list, or ignore"
    raise UsageError(f"{option}: {name!r} is not in the class list{hint}")


def _grey(path: Path, file: MaskFile, side: Side) -> np.ndarray:
    """The numbers of a file, also where they are stored as grey in three channels."""
    if file.values is not None:
        return file.values
    assert file.colours is not None
    if not _is_grey(file.colours):
        raise UsageError(f"{path}: {_what_colours(file)}, which --{side}-map cannot name; use --{side}-palette")
    return file.colours[..., 0]


def _is_grey(colours: np.ndarray) -> bool:
    return bool((colours == colours[..., :1]).all())


def _what_colours(file: MaskFile) -> str:
    assert file.colours is not None
    if _is_grey(file.colours):
        return f"contains colours ({file.mode}, all of them grey), not class indices"
    many = len(np.unique(file.colours.reshape(-1, 3), axis=0))
    like = ", like a photo, an overlay or a JPEG mask" if many > 300 else ""
    return f"contains colours ({file.mode}, {many} different ones{like}), not class indices"


def _way_out(file: MaskFile, side: Side) -> str:
    assert file.colours is not None
    if _is_grey(file.colours):
        return f"give the meaning of the levels with --{side}-map, such as 255=CLASS"
    return f"give the meaning of the colours with --{side}-palette voc, or a FILE of lines `R G B NAME`"


def _contradicts(file: MaskFile) -> bool:
    """Whether a palette's colours name other indices than those that the pixels have.

    So it is where an image optimiser renumbered VOC's colours, or stored a black background as another index than 0.
    """
    if file.palette is None or file.values is None:
        return False
    present = np.flatnonzero(np.bincount(file.values.ravel(), minlength=256))
    present = present[present < len(file.palette)]
    used, table = file.palette[present], palette()
    if np.array_equal(used, table[present]):
        return False
    codes = [_code(colour) for colour in used]
    black = [int(index) for index, code in zip(present, codes, strict=True) if code == 0 and index != 255]
    if black and 0 in present and 0 not in black:
        return True
    known = {_code(colour) for colour in [*table[:21], table[255]]}
    return known.issuperset(codes)
