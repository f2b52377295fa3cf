"""What `--walk-power` does to seeds of different kinds: mIoU after the walk, at each power.

    python -m benchmarks.walk_power DATA SEEDS [SEEDS …] --affinity FILE [--powers 1,1.5,2,3] [--every N] [--json FILE]

DATA is laid out like PASCAL VOC: JPEGImages and SegmentationClass. Each SEEDS is a folder that `extract` wrote for
photos of DATA that have a true mask. `by truth`: the threshold that is best by the masks of the row's own photos;
`follows`: the one that follows from the threshold of SEEDS, as does the power of each folder's last row. Boundaries are
computed once a photo; all else of the walk is as `refine --method walk` has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.recam_step import publish
from benchmarks.refiners import DEFAULTS, mapped
from benchmarks.seeds import CLASSES
from pseudomask.config import RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import PseudomaskError
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import Counts
from pseudomask.measuring.sweep import Sweep, best_index, count_scores
from pseudomask.networks.edges import EDGE_STRIDE
from pseudomask.refining.auto_threshold import THRESHOLDS
from pseudomask.refining.grid import on_grid, scaled, scores_on_grid
from pseudomask.refining.seeds import match_photos, read_seeds
from pseudomask.refining.transitions import random_walk
from pseudomask.refining.walk import Walk, power_of, threshold_of
from pseudomask.running.machine import cores
from pseudomask.scores import load_scores, quantise


@dataclass(frozen=True)
class Item:
    """One photo, its seeds and its true mask."""

    photo: Path
    seeds: Path
    truth: Path


@dataclass(frozen=True)
class Work:
    """Worker: the histogram of a photo's walked scores at each power."""

    walk: Walk
    powers: tuple[float, ...]
    thresholds: tuple[float, ...]
    n_classes: int

    def __call__(self, item: Item) -> list[Counts]:
        photo, scores, truth = decode(item.photo), load_scores(item.seeds), load_mask(item.truth)
        reduced = -(-max(scores.size) // self.walk.side)
        stride = EDGE_STRIDE * reduced
        with torch.inference_mode():
            edges = on_grid(self.walk.see(photo)[:1].sigmoid(), scores.size, stride)[0]
            grid = torch.from_numpy(scores_on_grid(scores, stride))
            planes = torch.cat([grid.pow(power) for power in self.powers])  # they do not mix: one walk for all
            how = {"radius": self.walk.radius, "beta": self.walk.beta, "exponent": self.walk.exponent}
            walked = random_walk(planes, edges, **how).chunk(len(self.powers))
            roots = [one.pow(1 / power).numpy() for one, power in zip(walked, self.powers, strict=True)]
        found = [quantise(scaled(scores, one, stride) if one.any() else scores) for one in roots]
        return [count_scores(one, truth, self.thresholds, n_classes=self.n_classes) for one in found]


@dataclass
class Row:
    """One line of the table; means over the classes asked for, in percent."""

    seeds: str
    power: float
    photos: int
    threshold: float
    miou: float
    follows: float
    follows_miou: float


def rows(data: Path, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """One folder's seeds at each power."""
    config = RefineConfig(
        images=data / "JPEGImages", seeds=folder, out=data / "none", affinity=options.affinity, walk_beta=options.beta
    )
    seeds = read_seeds(folder, None)
    names = ("background", *seeds.classes)
    chosen = np.isin(names, options.classes.split(","))
    items = [
        Item(one.path, seeds.outputs(one.key).scores, data / "SegmentationClass" / f"{one.key}.png")
        for one in match_photos(config, seeds).items[:: options.every]
    ]
    of_seeds = seeds.threshold or 0.5
    powers = (*(float(power) for power in options.powers.split(",")), power_of(of_seeds))
    thresholds = tuple(sorted({*THRESHOLDS, threshold_of(of_seeds)}))
    follows = thresholds.index(threshold_of(of_seeds))
    work = Work(Walk.of(config), powers, thresholds, len(names))
    sweeps = [Sweep(thresholds, len(names)) for _ in powers]
    for counts in mapped(work, items, options.workers, folder.name):
        for sweep, one in zip(sweeps, counts, strict=True):
            sweep.add(one)
    for power, sweep in zip(powers, sweeps, strict=True):
        means = [round(100 * float(measures.mean_iou(chosen)), 2) for measures in sweep.curve()]
        best = best_index(means)
        numbers = thresholds[best], means[best], thresholds[follows], means[follows]
        yield Row(folder.name, round(power, 2), len(items), *numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("seeds", type=Path, nargs="+")
    parser.add_argument("--affinity", type=Path, required=True, help="weights of train-affinity")
    parser.add_argument("--powers", default="1,1.2,1.4,1.6,2,2.5,3,3.5,4,5")
    parser.add_argument("--beta", type=float, default=DEFAULTS.walk_beta, help="refine's --walk-beta")
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--every", type=int, default=1, help="only each N-th photo of each folder (a trial)")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        found = [row for folder in options.seeds for row in rows(options.data, folder, options)]
    except PseudomaskError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    lines = [
        "| seeds | photos | power | threshold by truth | mIoU | that follows | mIoU |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        lines.append(
            f"| {row.seeds} | {row.photos} | {row.power:g} | {row.threshold:.2f} | {row.miou:.1f} "
            f"| {row.follows:.2f} | {row.follows_miou:.1f} |"
        )
    publish(lines, [asdict(row) for row in found], options.json)


if __name__ == "__main__":
    main()
