"""How far `refine --threshold auto` falls short of the threshold that true masks would choose.

    python -m benchmarks.auto_threshold DATA SEEDS [SEEDS …] [--every N] [--sample N] [--json FILE]

DATA is laid out like PASCAL VOC: JPEGImages and SegmentationClass. Each SEEDS is a folder that `extract` wrote for
photos of DATA that have a true mask. Both thresholds are chosen on the same photos: `truth` by the mean IoU over
--classes of the seeds' masks on all of them, `auto` without true masks on the sample that `refine` would take.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.recam_step import publish
from benchmarks.seeds import CLASSES
from pseudomask.config import RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import PseudomaskError
from pseudomask.masks import load_mask
from pseudomask.measuring.sweep import Sweep
from pseudomask.refining.auto_threshold import THRESHOLDS, choose, photo_agreement, spread
from pseudomask.refining.seeds import match_photos, read_seeds
from pseudomask.scores import load_scores

DEFAULTS = RefineConfig(images=Path(), seeds=Path(), out=Path())


@dataclass
class Row:
    """One line of the table; means over the classes asked for, in percent."""

    seeds: str
    photos: int
    truth: float
    truth_miou: float
    auto: float
    auto_miou: float

    @property
    def short(self) -> float:
        return self.truth_miou - self.auto_miou


def row(data: Path, folder: Path, classes: list[str], every: int, sample: int) -> Row:
    """Both thresholds of one folder's seeds; `every`: only each so-manieth photo is there."""
    seeds = read_seeds(folder, None)
    config = RefineConfig(images=data / "JPEGImages", seeds=folder, out=data / "none")
    items = match_photos(config, seeds).items[::every]
    chosen = np.isin(("background", *seeds.classes), classes)
    found = [load_scores(seeds.outputs(item.key).scores) for item in items]
    sweep = Sweep(THRESHOLDS, len(chosen))
    for item, one in zip(items, found, strict=True):
        sweep.update(one, load_mask(data / "SegmentationClass" / f"{item.key}.png"))
    means = np.array([100 * float(m.mean_iou(chosen)) for m in sweep.curve()])
    curves = [photo_agreement(decode(items[i].path), found[i]) for i in spread(len(items), sample)]
    auto = choose([curve for curve in curves if curve is not None])
    best, at = int(np.nanargmax(means)), THRESHOLDS.index(auto)
    return Row(folder.name, len(items), THRESHOLDS[best], float(means[best]), auto, float(means[at]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("seeds", type=Path, nargs="+")
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--sample", type=int, default=DEFAULTS.auto_sample)
    parser.add_argument("--every", type=int, default=1, help="only each N-th photo of each folder (a trial)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        rows = [
            row(options.data, folder, options.classes.split(","), options.every, options.sample)
            for folder in options.seeds
        ]
    except PseudomaskError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    lines = [
        "| seeds | photos | threshold by truth | mIoU | threshold auto | mIoU | short by |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        lines.append(
            f"| {one.seeds} | {one.photos} | {one.truth:.2f} | {one.truth_miou:.1f} "
            f"| {one.auto:.2f} | {one.auto_miou:.1f} | {one.short:.1f} |"
        )
    publish(lines, [asdict(one) | {"short": one.short} for one in rows], options.json)


if __name__ == "__main__":
    main()
