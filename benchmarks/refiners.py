"""What each refiner makes of seeds: mIoU on train and val, at the threshold that truth chooses and the automatic one.

    python -m benchmarks.refiners DATA SEEDS_TRAIN SEEDS_VAL [SEEDS_TRAIN SEEDS_VAL …] [--affinity FILE] [--json FILE]

DATA is laid out like PASCAL VOC: JPEGImages and SegmentationClass. Seeds come in pairs, as `extract` wrote them for the
train and the val photos. Refiners have their default settings. `truth`: the background threshold is the best on the
train masks (seeds, PAMR and walk: of all; CRF: of that of its start and the --around it, as each costs a run).
`auto`: as `refine --threshold auto` chooses it, on the train seeds; the walk's own follows from it, and so does its
power, in all rows. Val is measured at the thresholds of train.
Without --affinity the walk's rows are left out; --rows names others to be left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recam_step import publish
from benchmarks.seeds import CLASSES
from pseudomask.config import RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import PseudomaskError
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import Confusion, Counts, count
from pseudomask.measuring.sweep import Sweep
from pseudomask.refining import REFINERS
from pseudomask.refining.auto_threshold import THRESHOLDS, choose, photo_agreement, spread
from pseudomask.refining.refiner import Refiner
from pseudomask.refining.seeds import match_photos, read_seeds
from pseudomask.refining.walk import threshold_of
from pseudomask.running.machine import cores
from pseudomask.running.signals import graceful
from pseudomask.running.workers import Lost, run_jobs
from pseudomask.scores import ScoreMap, load_scores, quantise

ROWS = ("pamr", "crf", "walk", "walk,crf")
DEFAULTS = RefineConfig(images=Path(), seeds=Path(), out=Path())


@dataclass(frozen=True)
class Item:
    """One photo with scores, and the thresholds at which they are to be refined."""

    photo: Path
    truth: Path
    scores: ScoreMap
    thresholds: tuple[float, ...] = (0.5,)


@dataclass(frozen=True)
class Transform:
    """Worker: refined scores, rounded as files hold them."""

    refiner: Refiner
    threshold: float

    def __call__(self, item: Item) -> ScoreMap:
        return quantise(self.refiner.refine(decode(item.photo), item.scores, self.threshold).scores)


@dataclass(frozen=True)
class Measure:
    """Worker: the counts of the refined mask at each threshold."""

    refiner: Refiner
    n_classes: int

    def __call__(self, item: Item) -> list[Counts]:
        photo, truth = decode(item.photo), load_mask(item.truth)
        found = [self.refiner.refine(photo, item.scores, t) for t in item.thresholds]
        return [count(one.scores.mask(one.threshold), truth, n_classes=self.n_classes) for one in found]


@dataclass
class Row:
    """One line: thresholds and means over the classes asked for, in percent."""

    seeds: str
    refiner: str
    truth_threshold: float
    truth_train: float
    truth_val: float
    auto_threshold: float
    auto_train: float
    auto_val: float


def mapped(work: Callable[[Any], Any], items: Sequence[Any], workers: int, label: str) -> list[Any]:
    """Results in the items' order; what is lost, or a signal, ends the benchmark."""
    found = {}
    with graceful() as stop:
        for place, result in run_jobs(work, items, workers, stop):
            if isinstance(result, Lost):
                sys.exit(f"{items[place].photo}: {result.reason}")
            found[place] = result
            if len(found) % 20 == 0:
                print(f"{label}: {len(found)} of {len(items)}", file=sys.stderr, flush=True)
        if stop.requested:
            sys.exit(stop.exit_code)
    return [found[place] for place in range(len(items))]


@dataclass(frozen=True)
class Bench:
    """What all rows of a table share."""

    data: Path
    n_classes: int
    chosen: np.ndarray
    around: tuple[float, ...]
    sample: int
    workers: int
    made: Sequence[str]

    def curve(self, items: Sequence[Item], thresholds: Sequence[float]) -> np.ndarray:
        """Mean IoU at each threshold."""
        sweep = Sweep(thresholds, self.n_classes)
        for item in items:
            sweep.update(item.scores, load_mask(item.truth))
        return np.array([100 * float(m.mean_iou(self.chosen)) for m in sweep.curve()])

    def auto(self, items: Sequence[Item]) -> float:
        looked = [items[i] for i in spread(len(items), self.sample)]
        curves = [photo_agreement(decode(item.photo), item.scores) for item in looked]
        return choose([curve for curve in curves if curve is not None])

    def transformed(self, refiner: Refiner, items: Sequence[Item], threshold: float, label: str) -> list[Item]:
        results = mapped(Transform(refiner, threshold), items, self.workers, label)
        return [replace(item, scores=scores) for item, scores in zip(items, results, strict=True)]

    def refined(self, refiner: Refiner, items: Sequence[Item], thresholds: Sequence[float], label: str) -> list[float]:
        """Mean IoU of the refined masks at each threshold."""
        tables = [Confusion(self.n_classes) for _ in thresholds]
        todo = [replace(item, thresholds=tuple(thresholds)) for item in items]
        for counts in mapped(Measure(refiner, self.n_classes), todo, self.workers, label):
            for table, one in zip(tables, counts, strict=True):
                table.add(one)
        return [100 * float(table.measures().mean_iou(self.chosen)) for table in tables]

    def swept(self, seeds: str, name: str, train: Sequence[Item], val: Sequence[Item], auto: float) -> Row:
        """A row of scores whose mask is a cut at the threshold."""
        thresholds = sorted({*THRESHOLDS, auto})
        on_train, on_val = self.curve(train, thresholds), self.curve(val, thresholds)
        best, found = int(np.nanargmax(on_train)), thresholds.index(auto)
        return _row(seeds, name, thresholds[best], on_train[best], on_val[best], auto, on_train[found], on_val[found])

    def crf(self, start: Row, name: str, crf: Refiner, train: Sequence[Item], val: Sequence[Item]) -> Row:
        """A row of masks that the CRF makes from those of another row's scores."""
        around = [min(max(start.truth_threshold + step, 0.01), 0.99) for step in self.around]
        tried = [*dict.fromkeys(round(t, 2) for t in around), start.auto_threshold]
        on_train = self.refined(crf, train, tried, f"{start.seeds} {name} train")
        best = int(np.argmax(on_train[:-1]))
        on_val = self.refined(crf, val, [tried[best], tried[-1]], f"{start.seeds} {name} val")
        return _row(start.seeds, name, tried[best], on_train[best], on_val[0], tried[-1], on_train[-1], on_val[1])

    def rows(self, folders: Sequence[Path], config: RefineConfig, limit: int | None) -> Iterator[Row]:
        """All rows of one pair of seed folders."""
        train, val = (items_of(self.data, folder, limit) for folder in folders)
        name = folders[0].name
        seeds = self.swept(name, "seeds", train, val, self.auto(train))
        yield seeds
        auto = seeds.auto_threshold
        if "pamr" in self.made:
            pamr = REFINERS["pamr"](config)
            train_pamr, val_pamr = (self.transformed(pamr, items, auto, f"{name} pamr") for items in (train, val))
            yield self.swept(name, "+ pamr", train_pamr, val_pamr, auto)
        crf = REFINERS["crf"](config)
        if "crf" in self.made:
            yield self.crf(seeds, "+ crf", crf, train, val)
        if "walk" in self.made and config.affinity is not None:
            walk = REFINERS["walk"](config)
            train_walk, val_walk = (self.transformed(walk, items, auto, f"{name} walk") for items in (train, val))
            walked = self.swept(name, "+ walk", train_walk, val_walk, threshold_of(auto))
            yield walked
            if "walk,crf" in self.made:
                yield self.crf(walked, "+ walk + crf", crf, train_walk, val_walk)


def items_of(data: Path, folder: Path, limit: int | None) -> list[Item]:
    """The photos of a folder of seeds."""
    seeds = read_seeds(folder, None)
    config = RefineConfig(images=data / "JPEGImages", seeds=folder, out=data / "none", limit=limit)
    return [
        Item(one.path, data / "SegmentationClass" / f"{one.key}.png", load_scores(seeds.outputs(one.key).scores))
        for one in match_photos(config, seeds).items
    ]


def _row(seeds: str, name: str, *figures: float) -> Row:
    row = Row(seeds, name, *(round(float(figure), 2) for figure in figures))
    print(row, file=sys.stderr, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("seeds", type=Path, nargs="+", help="train, val, train, val, …")
    parser.add_argument("--affinity", type=Path, help="weights of train-affinity")
    parser.add_argument("--walk-power", type=float, default=DEFAULTS.walk_power, help="as refine's")
    parser.add_argument(
        "--rows", nargs="*", default=ROWS, choices=ROWS, help="what follows the seeds' row; default: all"
    )
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--around", default="-0.05,0,0.05", help="steps from the start's threshold tried with the CRF")
    parser.add_argument("--sample", type=int, default=DEFAULTS.auto_sample)
    parser.add_argument("--limit", type=int, help="only the first N photos of each folder (a trial)")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if len(options.seeds) % 2:
        parser.error("seeds come in pairs: SEEDS_TRAIN SEEDS_VAL")
    rows: list[Row] = []
    try:
        for pair in zip(options.seeds[::2], options.seeds[1::2], strict=True):
            names = ("background", *read_seeds(pair[0], None).classes)
            chosen = np.isin(names, options.classes.split(","))
            around = tuple(float(step) for step in options.around.split(","))
            bench = Bench(options.data, len(names), chosen, around, options.sample, options.workers, options.rows)
            config = replace(DEFAULTS, affinity=options.affinity, walk_power=options.walk_power)
            rows += bench.rows(pair, config, options.limit)
    except PseudomaskError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    lines = [
        "| seeds | refiner | threshold by truth | train mIoU | val mIoU | threshold auto | train mIoU | val mIoU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.seeds} | {row.refiner} | {row.truth_threshold:.2f} | {row.truth_train:.1f} | {row.truth_val:.1f} "
            f"| {row.auto_threshold:.2f} | {row.auto_train:.1f} | {row.auto_val:.1f} |"
        )
    publish(lines, [asdict(row) for row in rows], options.json)


if __name__ == "__main__":
    main()
