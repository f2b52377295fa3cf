"""What makes a measurement meaningless (an error) or doubtful (a warning before the result)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pseudomask.errors import UsageError
from pseudomask.measuring.coding import Coding
from pseudomask.measuring.confusion import Counts
from pseudomask.measuring.counting import PairCounter
from pseudomask.quoting import count, listed, shell_word

_SWAPPED = 0.6  # of a class's pixels, taken for one other class
_MOSTLY = 0.5
_MUCH = 0.25
_FEW = 0.05


@dataclass(frozen=True)
class Doubt:
    """A warning. `code`: an identifier for programs; `text`: what is doubtful, and the option that settles it."""

    code: str
    text: str


@dataclass
class Observations:
    """What was observed in the masks besides the counts.

    Attributes:
        ignored: pixels of the ignore index in truth and prediction; `pixels`: all pixels of the truth.
        empty: images in which no pixel counts; `first_empty`: the key of the first.
        hollow: images whose truth has only background and the ignore index; `first_hollow`: the key of the first.
        odd_palettes: truth files and prediction files whose palette contradicts their numbers.
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
        """Add one image."""
        counted = int(counts.table.sum())
        self.ignored = _added(self.ignored, counts.ignored)
        self.odd_palettes = _added(self.odd_palettes, counts.odd_palettes)
        self.pixels += counted + counts.ignored[0]
        self.images += 1
        if not counted:
            self.empty += 1
            self.first_empty = self.first_empty or key
        elif counts.ignored[0] and not counts.table[1:].any():
            self.hollow += 1
            self.first_hollow = self.first_hollow or key


def _added(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


@dataclass(frozen=True, eq=False)
class Check:
    """What is checked: counts (n, n), rows truth, and how they came about.

    Attributes:
        names: all classes, background first; `named`: whether they come from a class list.
        own: whether the predictions were made by this program.
    """

    table: np.ndarray
    names: tuple[str, ...]
    named: bool
    seen: Observations
    counter: PairCounter
    own: bool

    @property
    def scores(self) -> bool:
        return self.counter.thresholds is not None

    def doubts(self) -> tuple[Doubt, ...]:
        """What is doubtful. Raises UsageError if the result would be meaningless."""
        self._check_meaning()
        return (*self._of_files(), *self._of_ignored(), *self._of_classes())

    def _check_meaning(self) -> None:
        """Raise UsageError for truth or predictions of 0 and 255 that are not class indices."""
        table, seen, ignore = self.table, self.seen, self.counter.ignore
        example = self.names[1] if self.named and len(self.names) > 1 else "1"
        true_classes, predicted = table.sum(1)[1:].any(), table.sum(0)[1:].any()
        if not table.any() or (not true_classes and seen.ignored[0] and not self.counter.truth_coding.defines(ignore)):
            what = "nothing but background" if table.any() else "no pixel"
            raise UsageError(
                f"the truth contains only {'0 and ' if table.any() else ''}{ignore}, which is ignored, so {what} "
                f"counts; give its meaning: --truth-map {shell_word(f'{ignore}={example}')} (or {ignore}=ignore)"
            )
        all_ignored = true_classes and not predicted and seen.ignored[1] and not self.scores
        if all_ignored and not self.own and not self.counter.pred_coding.defines(ignore):
            raise UsageError(
                f"the predictions contain only 0 and {ignore}, and {ignore} counts as background, so they show no "
                f"class; give its meaning: --pred-map {shell_word(f'{ignore}={example}')} (or {ignore}=ignore)"
            )

    def _of_files(self) -> Iterator[Doubt]:
        truth, predicted = self.table.sum(1), self.table.sum(0)
        codings = (self.counter.truth_coding, self.counter.pred_coding)
        if not truth[1:].any():
            text = "the truth contains no class except background: only false positives are measured"
            yield Doubt("truth-background", text)
        elif not predicted[1:].any() and not self.scores:
            yield Doubt("pred-background", "the predictions contain no class except background")
        for coding, n, what in zip(codings, self.seen.odd_palettes, ("truth", "prediction"), strict=True):
            if n:
                yield Doubt(
                    f"{coding.side}-palette",
                    f"the palette of {count(n, f'{what} mask')} gives indices the colours of other classes, as image "
                    f"optimisers do; if the colours are right, give --{coding.side}-palette voc (or FILE)",
                )
        if not self.named:
            yield from _odd_numbers(truth, codings[0], "truth contains")
            if not self.scores:
                yield from _odd_numbers(predicted, codings[1], "predictions contain")

    def _of_ignored(self) -> Iterator[Doubt]:
        seen, ignore = self.seen, self.counter.ignore
        truth_defined = self.counter.truth_coding.defines(ignore)
        share = seen.ignored[0] / max(seen.pixels, 1)
        if share > _MOSTLY and not truth_defined:
            yield Doubt(
                "ignored",
                f"{100 * share:.0f} % of the truth's pixels are {ignore} and do not count; if it is a class, give "
                f"--truth-map {ignore}=CLASS, otherwise {ignore}=ignore",
            )
        share = seen.ignored[1] / max(seen.pixels, 1)
        if share > _MUCH and not self.own and not self.counter.pred_coding.defines(ignore):
            yield Doubt(
                "pred-ignored",
                f"{100 * share:.0f} % of the predictions' pixels are {ignore} and count as background; if it is a "
                f"class, give --pred-map {ignore}=CLASS, otherwise {ignore}=ignore",
            )
        images = count(seen.images, "image")
        if seen.empty:
            yield Doubt("empty-truth", f"no pixel is counted in {seen.empty} of {images} (first: {seen.first_empty})")
        if seen.hollow > _FEW * seen.images and self.table[1:].any() and not truth_defined:
            yield Doubt(
                "hollow-truth",
                f"in {seen.hollow} of {images} the truth contains only 0 and {ignore}, which does not count (first: "
                f"{seen.first_hollow}); if {ignore} is a class there, write its index instead, or give --truth-map "
                f"{ignore}=CLASS, otherwise {ignore}=ignore",
            )

    def _of_classes(self) -> Iterator[Doubt]:
        names, moved = self.names, _moved(self.table)
        true, found = (np.flatnonzero(self.table.sum(axis)[1:]) + 1 for axis in (1, 0))
        advice = "do both folders count classes in the same order? --truth-map or --pred-map can renumber them"
        if moved:
            pairs = listed([f"{names[a]} as {names[b]}" for a, b in moved], 4)
            yield Doubt("swapped", f"the truth's classes are mostly predicted as others ({pairs}): {advice}")
        elif true.size and found.size and not np.intersect1d(true, found).size:
            in_truth, in_predictions = (listed([names[index] for index in some]) for some in (true, found))
            yield Doubt(
                "disjoint",
                f"truth and predictions have no class in common ({in_truth} in the truth, {in_predictions} in the "
                f"predictions): {advice}",
            )


def _odd_numbers(pixels: np.ndarray, coding: Coding, what: str) -> Iterator[Doubt]:
    """Numbers that look like grey levels, not classes; `pixels` (n,): how many have each number."""
    found = [int(value) for value in np.flatnonzero(pixels) if value]
    if not found or not coding.plain:
        return
    step = int(np.gcd.reduce(found))
    if (found[-1] >= 50 and step >= 10) or 200 <= found[-1] <= 255:
        yield Doubt(
            f"{coding.side}-values",
            f"the {what} the values {listed(list(map(str, found)), 5)}, each taken for a class, and there is no class "
            f"list; if they are grey levels, give --{coding.side}-map {found[0]}=1 (and so on), or --class-file",
        )


def _moved(table: np.ndarray) -> list[tuple[int, int]]:
    """Two or more classes, each mostly predicted as one other class, and no two as the same one."""
    truth = table.sum(1)
    present = np.flatnonzero(truth)
    target = table[present].argmax(1)
    share = table[present, target] / truth[present]
    alone = np.bincount(target, minlength=len(table))[target] == 1
    which = alone & (target != present) & (share >= _SWAPPED)
    moved = list(zip(present[which].tolist(), target[which].tolist(), strict=True))
    return moved if len(moved) > 1 else []
