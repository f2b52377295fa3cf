"""Add up the counts of all images and make the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pseudomask.errors import UsageError
from pseudomask.measuring.coding_options import BACKGROUND
from pseudomask.measuring.confusion import Confusion, Counts, Measures, measure
from pseudomask.measuring.counting import PairCounter
from pseudomask.measuring.doubts import Check, Doubt, Observations
from pseudomask.measuring.pairing import Pairing
from pseudomask.measuring.protocol import Protocol
from pseudomask.measuring.reports import ClassRow, ImageRow, Parts, Report
from pseudomask.measuring.sweep import Sweep, best_index, tables
from pseudomask.quoting import listed


@dataclass(frozen=True)
class Circumstances:
    """What a report contains besides the counts."""

    pairing: Pairing
    list_name: str | None
    counter: PairCounter
    own: bool  # whether this program made the predictions
    masks_threshold: float | None = None
    threshold_chosen: str = ""  # how, in words
    doubts: tuple[Doubt, ...] = ()  # about the folders
    reviewed: str = ""  # what --review left out, in words


class Tally:
    """The sum over images, and each image's own mean IoU.

    names: all classes, background first; None without a class list. chosen: positions of the classes in the mean,
    None for all; thresholds: None for masks; by_class: also keep each image's IoU by class.
    """

    def __init__(
        self,
        names: tuple[str, ...] | None,
        chosen: tuple[int, ...] | None,
        thresholds: tuple[float, ...] | None,
        *,
        by_class: bool = False,
    ) -> None:
        self.names = names
        self.chosen = chosen
        self.by_class = by_class
        n_classes = None if names is None else len(names)
        self.sum = Confusion(n_classes) if thresholds is None else Sweep(thresholds, n_classes)
        self.seen = Observations()
        self._images: list[tuple[str, int, np.ndarray]] = []
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []  # labels (k,), IoU (T, k)

    def add(self, key: str, counts: Counts) -> None:
        """Add one image."""
        self.sum.add(counts)
        self.seen.add(key, counts)
        table = counts.table if isinstance(self.sum, Confusion) else tables(counts.table)
        in_mean = None if self.chosen is None else np.isin(counts.labels, self.chosen)
        # A few small numbers per threshold, not the counts, to save memory over 100,000 images.
        measures = measure(table)
        means = np.atleast_1d(measures.mean_iou(in_mean)).astype(np.float32)
        self._images.append((key, int(counts.table.sum()), means))
        if self.by_class:
            self._parts.append((counts.labels.astype(np.uint16), np.atleast_2d(measures.iou).astype(np.float16)))

    def report(self, circumstances: Circumstances) -> Report:
        """The report over all images so far."""
        counter, seen = circumstances.counter, self.seen
        curve: tuple[tuple[float, float], ...] = ()
        chosen = ""
        if isinstance(self.sum, Confusion):
            table, index = self.sum.table, 0
            in_mean = self._in_mean(len(table))
            threshold, source = circumstances.masks_threshold, "from the masks"
            chosen = circumstances.threshold_chosen
        else:
            in_mean = self._in_mean(len(self.sum.histogram))
            means = [float(measures.mean_iou(in_mean)) for measures in self.sum.curve()]
            curve = tuple(zip(self.sum.thresholds, means, strict=True))
            index = best_index(means)
            table, threshold = self.sum.table(index), self.sum.thresholds[index]
            source = "given" if len(curve) == 1 else "chosen on this truth"
        names = self.names or (BACKGROUND, *(str(label) for label in range(1, len(table))))
        doubts = Check(table, names, self.names is not None, seen, counter, circumstances.own).doubts()
        measures = measure(table)
        absent = measures.absent()
        if not (in_mean & ~absent).any():
            missing = listed(_chosen(names, in_mean), 8)
            raise UsageError(f"no class of the mean is in any truth or prediction: {missing}")
        counted = int(table.sum())
        pairing = circumstances.pairing
        protocol = Protocol(
            images=len(pairing.pairs),
            kind="masks" if isinstance(self.sum, Confusion) else "scores",
            listed=circumstances.list_name,
            threshold=threshold,
            threshold_source=source,
            thresholds_tried=len(curve),
            ignore=f"{counter.ignore} in truth is not counted, in predictions it is background",
            resolution="each pixel of the truth masks",
            classes_in_mean=_chosen(names, in_mean & ~absent),
            absent=_chosen(names, in_mean & absent),
            not_in_mean=_chosen(names, ~in_mean),
            without_truth=pairing.without_truth,
            without_prediction=pairing.without_prediction,
            threshold_chosen=chosen,
            classes_named=self.names is not None,
            truth_read_as=counter.truth_coding.description,
            predictions_read_as=counter.pred_coding.description,
            ignored_share=seen.ignored[0] / seen.pixels if seen.pixels else 0.0,
            predicted_ignored_share=seen.ignored[1] / seen.pixels if seen.pixels else 0.0,
            images_without_counted_pixels=seen.empty,
            reviewed=circumstances.reviewed,
        )
        return Report(
            mean_iou=float(measures.mean_iou(in_mean)),
            pixel_accuracy=int(np.trace(table)) / counted if counted else float("nan"),
            classes=_class_rows(names, measures, in_mean),
            images=tuple(ImageRow(key, round(float(means[index]), 6), pixels) for key, pixels, means in self._images),
            confusion=table,
            curve=curve,
            protocol=protocol,
            doubts=(*circumstances.doubts, *doubts),
            parts=tuple(_parts(labels, ious[index]) for labels, ious in self._parts),
        )

    def _in_mean(self, size: int) -> np.ndarray:
        if self.chosen is None:
            return np.ones(size, bool)
        if max(self.chosen) >= size:
            raise UsageError(f"class {max(self.chosen)} is in no mask; the highest value found is {size - 1}")
        chosen = np.zeros(size, bool)
        chosen[[*self.chosen]] = True
        return chosen


def _parts(labels: np.ndarray, ious: np.ndarray) -> Parts:
    there = ~np.isnan(ious)
    return Parts(tuple(labels[there].tolist()), tuple(ious[there].tolist()))


def _chosen(names: tuple[str, ...], which: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, yes in zip(names, which, strict=True) if yes)


def _class_rows(names: tuple[str, ...], measures: Measures, in_mean: np.ndarray) -> tuple[ClassRow, ...]:
    return tuple(
        ClassRow(
            index=index,
            name=name,
            iou=float(measures.iou[index]),
            precision=float(measures.precision[index]),
            recall=float(measures.recall[index]),
            false_positive=float(measures.false_positive[index]),
            false_negative=float(measures.false_negative[index]),
            truth_pixels=int(measures.truth[index]),
            predicted_pixels=int(measures.predicted[index]),
            in_mean=bool(in_mean[index]),
        )
        for index, name in enumerate(names)
    )
