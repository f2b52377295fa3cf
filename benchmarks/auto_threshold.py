"""How far `refine --threshold auto` falls short of the threshold that true masks would choose.

    python -m benchmarks.auto_threshold DATA SEEDS [SEEDS …] [--affinity FILE] [--every N] [--sample N] [--json FILE]

DATA is laid out like PASCAL VOC: JPEGImages and SegmentationClass. Each SEEDS is a folder that `extract` wrote for
photos of DATA that have a true mask. Both thresholds are chosen on the same photos: `truth` by the mean IoU over
--classes of the seeds' masks on all of them, `auto` without true masks on the sample that `refine` would take. With
--affinity the same of the walked scores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.seeds import CLASSES
from pseudomask.config import RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import PseudomaskError
from pseudomask.masks import load_mask
from pseudomask.measuring.sweep import Sweep
from pseudomask.refining.auto_threshold import THRESHOLDS, WALKED, carry, choose, photo_agreement, photo_excess, spread
from pseudomask.refining.seeds import match_photos, read_seeds
from pseudomask.refining.walk import Walk
from pseudomask.scores import ScoreMap, load_scores, quantise

DEFAULTS = RefineConfig(images=Path(), seeds=Path(), out=Path())


@dataclass
class Row:
    """One line of the table; means over the classes asked for, in percent."""

    seeds: str
    refiner: str
    photos: int
    truth: float
    truth_miou: float
    auto: float
    auto_miou: float

    @property
    def short(self) -> float:
        return self.truth_miou - self.auto_miou


@dataclass(frozen=True)
class Bench:
    """What all rows share; `every`: only each so-manieth photo is there."""

    data: Path
    classes: list[str]
    affinity: Path | None
    power: float
    every: int
    sample: int

    def rows(self, folder: Path) -> Iterator[Row]:
        """Both thresholds of one folder's seeds, and of their walk."""
        config = RefineConfig(images=self.data / "JPEGImages", seeds=folder, out=self.data / "none")
        seeds = read_seeds(folder, None)
        names = ("background", *seeds.classes)
        items = match_photos(config, seeds).items[:: self.every]
        chosen = np.isin(names, self.classes)
        found = [load_scores(seeds.scores(item.key)) for item in items]
        truths = [load_mask(self.data / "SegmentationClass" / f"{item.key}.png") for item in items]
        sample = spread(len(items), self.sample)
        auto = choose(_said(photo_agreement(decode(items[i].path), found[i]) for i in sample))
        yield _row(folder.name, "seeds", found, truths, chosen, auto)
        if self.affinity is not None:
            walk = Walk.of(replace(config, affinity=self.affinity, walk_power=self.power))
            walked = [
                quantise(walk.refine(decode(item.path), one, auto).scores)
                for item, one in zip(items, found, strict=True)
            ]
            some = [sample[i] for i in spread(len(sample), max(1, self.sample // WALKED))]
            excesses = _said(photo_excess(decode(items[i].path), found[i], auto, walked[i]) for i in some)
            yield _row(folder.name, "+ walk", walked, truths, chosen, carry(excesses))


def _said(curves: Iterable[np.ndarray | None]) -> list[np.ndarray]:
    return [curve for curve in curves if curve is not None]


def _row(
    seeds: str, refiner: str, found: Sequence[ScoreMap], truths: Sequence[np.ndarray], chosen: np.ndarray, auto: float
) -> Row:
    sweep = Sweep(THRESHOLDS, len(chosen))
    for one, truth in zip(found, truths, strict=True):
        sweep.update(one, truth)
    means = np.array([100 * float(m.mean_iou(chosen)) for m in sweep.curve()])
    best, at = int(np.nanargmax(means)), THRESHOLDS.index(auto)
    return Row(seeds, refiner, len(found), THRESHOLDS[best], float(means[best]), auto, float(means[at]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("seeds", type=Path, nargs="+")
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--sample", type=int, default=DEFAULTS.auto_sample)
    parser.add_argument("--affinity", type=Path, help="weights of train-affinity: also the walk's threshold")
    parser.add_argument("--walk-power", type=float, default=DEFAULTS.walk_power, help="as refine's")
    parser.add_argument("--every", type=int, default=1, help="only each N-th photo of each folder (a trial)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        bench = Bench(
            options.data,
            options.classes.split(","),
            options.affinity,
            options.walk_power,
            options.every,
            options.sample,
        )
        rows = [row for one in options.seeds for row in bench.rows(one)]
    except PseudomaskError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    print("| seeds | refiner | photos | threshold by truth | mIoU | threshold auto | mIoU | short by |")
    print("|---|---|---|---|---|---|---|---|")
    for one in rows:
        print(
            f"| {one.seeds} | {one.refiner} | {one.photos} | {one.truth:.2f} | {one.truth_miou:.1f} "
            f"| {one.auto:.2f} | {one.auto_miou:.1f} | {one.short:.1f} |"
        )
    if options.json:
        found = [asdict(one) | {"short": one.short} for one in rows]
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
