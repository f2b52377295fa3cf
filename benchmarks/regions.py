"""Whether regions pay, alone and beside the other refiners: mIoU on train and val at the automatic threshold.

    python -m benchmarks.regions DATA TRAIN VAL [TRAIN VAL …] [--affinity FILE] [--chains A B,C …] [--json FILE]

DATA is laid out like PASCAL VOC: JPEGImages and SegmentationClass. Seeds come in pairs, as `extract` wrote them for the
train and the val photos. Refiners have their default settings; the threshold is that of `refine --threshold auto` on
the train seeds. A chain's common beginning is computed once. `true` is no refiner: it takes regions made from the true
masks (each connected part of a class, background too), writes them to files, reads these as `proposals` does, and so
shows what ideal regions would give.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.recam_step import publish
from benchmarks.refiners import DEFAULTS, Item, items_of, mapped
from benchmarks.seeds import CLASSES
from pseudomask.data.decoding import decode
from pseudomask.errors import PseudomaskError
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import Confusion, Counts, count
from pseudomask.refining import REFINERS
from pseudomask.refining.auto_threshold import choose, photo_agreement
from pseudomask.refining.proposal_files import file_of, save_proposals
from pseudomask.refining.proposals import FromFolder
from pseudomask.refining.refiner import PhotoRefiner, Refined, Refiner
from pseudomask.refining.seeds import read_seeds
from pseudomask.running.machine import cores

CHAINS = ("superpixels", "crf", "superpixels,crf", "crf,superpixels", "true")
WALKS = ("walk", "superpixels,walk", "walk,superpixels", "walk,crf", "walk,superpixels,crf", "walk,crf,superpixels")


@dataclass
class Row:
    """Means over the classes asked for, in percent; `seconds`: processor time of a photo for the last refiner."""

    seeds: str
    chain: str
    threshold: float
    train: float
    val: float
    seconds: float


@dataclass
class Found:
    """Counts and processor time of each chain, of one photo."""

    counts: list[Counts] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Measure:
    """Worker: one photo through all chains."""

    refiners: dict[str, Refiner]
    chains: tuple[tuple[str, ...], ...]
    threshold: float
    n_classes: int

    def __call__(self, item: Item) -> Found:
        cv2.setNumThreads(1)
        photo, truth, key = decode(item.photo), load_mask(item.truth), item.photo.stem
        made: dict[tuple[str, ...], tuple[Refined, float]] = {(): (Refined(item.scores, self.threshold), 0.0)}
        found = Found()
        for chain in self.chains:
            for end in range(1, len(chain) + 1):
                if chain[:end] not in made:
                    refiner = self.refiners[chain[end - 1]]
                    refiner = refiner.of_photo(key) if isinstance(refiner, PhotoRefiner) else refiner
                    started = time.process_time()
                    refined = refiner.refine(photo, *made[chain[: end - 1]][0])
                    made[chain[:end]] = refined, time.process_time() - started
            refined, seconds = made[chain]
            found.counts.append(count(refined.scores.mask(refined.threshold), truth, n_classes=self.n_classes))
            found.seconds.append(seconds)
        return found


def write_truth(items: Sequence[Item], folder: Path) -> None:
    """Regions that follow the true masks; pixels that these leave undecided are in none."""
    for item in items:
        truth, masks = load_mask(item.truth), []
        for value in np.unique(truth[truth != 255]):
            number, parts = cv2.connectedComponents((truth == value).astype(np.uint8))
            masks += [parts == part for part in range(1, number)]
        save_proposals(file_of(folder, item.photo.stem), masks, truth.shape, {"made_from": "true masks"})


def rows_of(
    data: Path, pair: Sequence[Path], chains: Sequence[str], affinity: Path | None, options: argparse.Namespace
) -> list[Row]:
    train, val = (items_of(data, folder, options.limit) for folder in pair)
    names = ("background", *read_seeds(pair[0], None).classes)
    chosen = np.isin(names, options.classes.split(","))
    curves = [photo_agreement(decode(item.photo), item.scores) for item in train]
    threshold = choose([curve for curve in curves if curve is not None])
    config = replace(DEFAULTS, affinity=affinity)
    split = ((), *(tuple(chain.split(",")) for chain in chains))
    with tempfile.TemporaryDirectory() as folder:
        refiners: dict[str, Refiner] = {}
        for name in {name for chain in split for name in chain}:
            refiners[name] = FromFolder(Path(folder)) if name == "true" else REFINERS[name](config)
        if "true" in refiners:
            write_truth([*train, *val], Path(folder))
        work = Measure(refiners, split, threshold, len(names))
        measured = [mapped(work, items, options.workers, f"{pair[0].name}") for items in (train, val)]
    rows = []
    for place, chain in enumerate(split):
        figures = []
        for found in measured:
            table = Confusion(len(names))
            for one in found:
                table.add(one.counts[place])
            figures.append(round(100 * float(table.measures().mean_iou(chosen)), 2))
        seconds = float(np.mean([one.seconds[place] for found in measured for one in found]))
        rows.append(Row(pair[0].name.partition("_")[0], ",".join(chain), threshold, *figures, round(seconds, 3)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("seeds", type=Path, nargs="+", help="train, val, train, val, …")
    parser.add_argument("--affinity", type=Path, help="weights of train-affinity, for the walk")
    parser.add_argument("--chains", nargs="*", help="default: all, those with the walk where there is --affinity")
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--limit", type=int, help="only the first N photos of each folder (a trial)")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if len(options.seeds) % 2:
        parser.error("seeds come in pairs: TRAIN VAL")
    chains = options.chains or [*CHAINS, *(WALKS if options.affinity else ())]
    rows: list[Row] = []
    try:
        for pair in zip(options.seeds[::2], options.seeds[1::2], strict=True):
            rows += rows_of(options.data, pair, chains, options.affinity, options)
    except PseudomaskError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    lines = ["| seeds | refiners | threshold auto | train mIoU | val mIoU | s/photo |", "|---|---|---|---|---|---|"]
    for row in rows:
        figures = f"{row.threshold:.2f} | {row.train:.1f} | {row.val:.1f} | {row.seconds:.2f}"
        lines.append(f"| {row.seeds} | {row.chain or 'none'} | {figures} |")
    publish(lines, [asdict(row) for row in rows], options.json)


if __name__ == "__main__":
    main()
