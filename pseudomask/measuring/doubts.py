"""What makes a measurement meaningless, which is an error, or doubtful, which is told before its number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pseudomask.errors import UsageError
from pseudomask.measuring.coding import Coding
from pseudomask.measuring.confusion import Counts
from pseudomask.quoting import shell_word

_SWAPPED = 0.6  # of a class's pixels, taken for one other class
_MOSTLY = 0.5
_MUCH = 0.25
_FEW = 0.05


@dataclass(frozen=True)
class Doubt:
    """`code`: a word for programs; `text`: what is odd, and the option that settles it."""

    code: str
    text: str


@dataclass
class Seen:
    """What was met on the way, beside the counts.

    ignored: pixels of the ignore index in truth and prediction; pixels: all of the truth; empty: images in which no
    pixel counts; hollow: in which the truth holds nothing but background and the ignore index; odd_palettes: files of
    each side whose palette contradicts their numbers; first_*: keys of the first.
    """

    ignored: tuple[int, int] = (0, 0)
    pixels: int = 0
    images: int = 0
    empty: int = 0
    hollow: int = 0
    odd_palettes: tuple[int, int] = (0, 0)
    first_empty: str = ""
    first_hollow: str = ""

    def add(self, key: str, counts: Counts) -> None:
        """One image more."""
        counted = int(counts.table.sum())
        self.ignored = (self.ignored[0] + counts.ignored[0], self.ignored[1] + counts.ignored[1])
        self.pixels += counted + counts.ignored[0]
        self.images += 1
        self.odd_palettes = (
            self.odd_palettes[0] + counts.odd_palettes[0],
            self.odd_palettes[1] + counts.odd_palettes[1],
        )
        if not counted:
            self.empty += 1
            self.first_empty = self.first_empty or key
        elif counts.ignored[0] and not counts.table[1:].any():
            self.hollow += 1
            self.first_hollow = self.first_hollow or key


@dataclass(frozen=True)
class Setting:
    """How two folders were compared: codings, the ignore index, whether scores, and whether the masks are our own."""

    truth: Coding
    pred: Coding
    ignore: int
    scores: bool
    own: bool


def check(table: np.ndarray, names: tuple[str, ...], named: bool, seen: Seen, setting: Setting) -> tuple[Doubt, ...]:
    """What is doubtful in counts (n, n), rows truth.

    names: all classes with background first; named: whether they come from a class list. Raises UsageError where the
    number would say nothing.
    """
    _check_meaning(table, names, named, seen, setting)
    return tuple(_doubts(table, names, named, seen, setting))


def _check_meaning(table: np.ndarray, names: tuple[str, ...], named: bool, seen: Seen, setting: Setting) -> None:
    """Raise UsageError for truth or predictions of 0 and 255 that are not class indices."""
    ignore, example = setting.ignore, names[1] if named and len(names) > 1 else "1"
    true_classes, predicted = table.sum(1)[1:].any(), table.sum(0)[1:].any()
    if not table.any() or (not true_classes and seen.ignored[0] and not setting.truth.settles(ignore)):
        what = "nothing but background" if table.any() else "no pixel"
        raise UsageError(
            f"the truth holds only {'0 and ' if table.any() else ''}{ignore}, which is ignored, so {what} counts; "
            f"give its meaning: --truth-map {shell_word(f'{ignore}={example}')} (or {ignore}=ignore)"
        )
    all_left_out = true_classes and not predicted and seen.ignored[1] and not setting.scores
    if all_left_out and not setting.own and not setting.pred.settles(ignore):
        raise UsageError(
            f"the predictions hold only 0 and {ignore}, and {ignore} counts as background, so they show no class; "
            f"give its meaning: --pred-map {shell_word(f'{ignore}={example}')} (or {ignore}=ignore)"
        )


def _doubts(table: np.ndarray, names: tuple[str, ...], named: bool, seen: Seen, setting: Setting) -> Iterator[Doubt]:
    truth, predicted = table.sum(1), table.sum(0)
    if not truth[1:].any():
        yield Doubt("truth-background", "the truth holds no class but background: only false positives are measured")
    elif not predicted[1:].any() and not setting.scores:
        yield Doubt("pred-background", "the predictions hold no class but background")
    for coding, count, what in (
        (setting.truth, seen.odd_palettes[0], "truth"),
        (setting.pred, seen.odd_palettes[1], "prediction"),
    ):
        if count:
            yield Doubt(
                f"{coding.side}-palette",
                f"the palette of {count} {what} masks gives their indices the colours of other classes, as an image "
                f"optimiser does; if the colours are right, say --{coding.side}-palette voc (or FILE)",
            )
    if not named:
        yield from _odd_numbers(truth, setting.truth, "truth")
        if not setting.scores:
            yield from _odd_numbers(predicted, setting.pred, "predictions")
    share = seen.ignored[0] / max(seen.pixels, 1)
    if share > _MOSTLY and not setting.truth.settles(setting.ignore):
        yield Doubt(
            "ignored",
            f"{100 * share:.0f} % of the truth's pixels are {setting.ignore} and do not count; if it is a class, say "
            f"--truth-map {setting.ignore}=CLASS, else {setting.ignore}=ignore",
        )
    share = seen.ignored[1] / max(seen.pixels, 1)
    if share > _MUCH and not setting.own and not setting.pred.settles(setting.ignore):
        yield Doubt(
            "pred-ignored",
            f"{100 * share:.0f} % of the predictions' pixels are {setting.ignore} and count as background; if it is a "
            f"class, say --pred-map {setting.ignore}=CLASS, else {setting.ignore}=ignore",
        )
    if seen.empty:
        yield Doubt(
            "empty-truth", f"no pixel is counted in {seen.empty} of {seen.images} images (first: {seen.first_empty})"
        )
    if seen.hollow > _FEW * seen.images and truth[1:].any() and not setting.truth.settles(setting.ignore):
        yield Doubt(
            "hollow-truth",
            f"in {seen.hollow} of {seen.images} images the truth holds only 0 and {setting.ignore}, which does not "
            f"count (first: {seen.first_hollow}); if {setting.ignore} is a class there, write its index instead, or "
            f"say --truth-map {setting.ignore}=CLASS, else {setting.ignore}=ignore",
        )
    moved = _moved(table)
    true, found = np.flatnonzero(truth[1:]), np.flatnonzero(predicted[1:])
    if not moved and true.size and found.size and not np.intersect1d(true, found).size:
        yield Doubt(
            "disjoint",
            f"truth and predictions have no class in common ({_some(names, true + 1)} in the truth, "
            f"{_some(names, found + 1)} in the predictions): do both folders count classes in the same order? "
            "--truth-map or --pred-map can renumber them",
        )
    if moved:
        pairs = ", ".join(f"{names[a]} as {names[b]}" for a, b in moved[:4]) + (", ..." if len(moved) > 4 else "")
        yield Doubt(
            "swapped",
            f"the truth's classes are mostly predicted as others ({pairs}): do both folders count classes in the same "
            "order? --truth-map or --pred-map can renumber them",
        )


def _some(names: tuple[str, ...], classes: np.ndarray) -> str:
    return ", ".join(names[index] for index in classes[:3]) + (", ..." if len(classes) > 3 else "")


def _odd_numbers(pixels: np.ndarray, coding: Coding, what: str) -> Iterator[Doubt]:
    """Numbers of grey levels rather than of classes, where no class list can tell; pixels (n,) of each number."""
    found = [int(value) for value in np.flatnonzero(pixels) if value]
    if not found or not coding.plain:
        return
    step = int(np.gcd.reduce(found))
    if (found[-1] >= 50 and step >= 10) or 200 <= found[-1] <= 255:
        some = ", ".join(str(value) for value in found[:5]) + (", ..." if len(found) > 5 else "")
        yield Doubt(
            f"{coding.side}-values",
            f"the {what} hold the values {some}, each taken for a class, and there is no class list; if they are grey "
            f"levels, say --{coding.side}-map {found[0]}=1 (and so on), or give --class-file",
        )


def _moved(table: np.ndarray) -> list[tuple[int, int]]:
    """Two or more classes of which each is mostly predicted as one other, and no two as the same."""
    truth = table.sum(1)
    present = np.flatnonzero(truth)
    target = table[present].argmax(1)
    share = table[present, target] / truth[present]
    alone = np.bincount(target, minlength=len(table))[target] == 1
    which = alone & (target != present) & (share >= _SWAPPED)
    moved = list(zip(present[which].tolist(), target[which].tolist(), strict=True))
    return moved if len(moved) > 1 else []
