"""Read pairs of files and count their pixels, on one or more threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from pseudomask import quoting
from pseudomask.errors import UsageError
from pseudomask.measuring.coding import Coding
from pseudomask.measuring.confusion import Counts, count
from pseudomask.measuring.pairing import Pair
from pseudomask.measuring.sweep import count_scores
from pseudomask.scores import ScoreMap, load_scores

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class PairCounter:
    """Counts pairs of mask files, or pairs of score and mask files if `thresholds` are given.

    Attributes:
        n_classes: with background; None accepts any.
        renumber: index in the truth for each index in the prediction, int (m,) with renumber[0] = 0; None if equal.
        truth_coding, pred_coding: what the numbers or colours in the files mean.
    """

    n_classes: int | None
    ignore: int = 255
    thresholds: tuple[float, ...] | None = None
    renumber: np.ndarray | None = None
    truth_coding: Coding = field(default_factory=lambda: Coding("truth"))
    pred_coding: Coding = field(default_factory=lambda: Coding("pred"))

    def __call__(self, pair: Pair) -> Counts:
        """Raises UsageError, with the file names, if the two do not match; ImageError for a damaged mask."""
        try:
            return self._count(pair)
        except UsageError as error:
            if str(pair.prediction) in str(error) or str(pair.truth) in str(error):
                raise
            raise UsageError(f"{pair.prediction} against {pair.truth}: {error}") from error

    def mask(self, prediction: Path, threshold: float | None) -> np.ndarray:
        """A prediction as a label map (H, W) in the truth's indices: a mask file, or scores cut at `threshold`."""
        if self.thresholds is None or threshold is None:
            return self._mask(self.pred_coding.read(prediction)[0])
        return self._scores(load_scores(prediction)).mask(threshold)

    def truth(self, path: Path) -> np.ndarray:
        """A truth file as a label map (H, W)."""
        return self.truth_coding.read(path)[0]

    def _count(self, pair: Pair) -> Counts:
        truth, odd_truth = self.truth_coding.read(pair.truth)
        if self.thresholds is None:
            mask, odd_mask = self.pred_coding.read(pair.prediction)
            counts = count(self._mask(mask), truth, n_classes=self.n_classes, ignore=self.ignore)
            return replace(counts, odd_palettes=(odd_truth, odd_mask))
        scores = self._scores(load_scores(pair.prediction))
        counts = count_scores(scores, truth, self.thresholds, n_classes=self.n_classes, ignore=self.ignore)
        return replace(counts, odd_palettes=(odd_truth, False))

    def _mask(self, mask: np.ndarray) -> np.ndarray:
        if self.renumber is None:
            return mask
        kept = mask == self.ignore
        return np.where(kept, self.ignore, self._renumbered(np.where(kept, 0, mask)))

    def _scores(self, scores: ScoreMap) -> ScoreMap:
        if self.renumber is None or not scores.classes:
            return scores
        classes = self._renumbered(np.array(scores.classes))
        order = np.argsort(classes)
        return ScoreMap(tuple(classes[order].tolist()), scores.values[order], scores.size, scores.stride)

    def _renumbered(self, labels: np.ndarray) -> np.ndarray:
        assert self.renumber is not None
        if int(labels.max()) >= len(self.renumber):
            known = quoting.count(len(self.renumber) - 1, "class")
            raise UsageError(f"the prediction contains the value {labels.max()}, but its run.json has {known}")
        renumbered: np.ndarray = self.renumber[labels]
        return renumbered


def in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    initializer: Callable[[], None] | None = None,
) -> Generator[Result, None, None]:
    """`map` on threads that first call `initializer`: results in order, at most two items per thread at a time."""
    if workers <= 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, initializer=initializer)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
