"""What each step of CPMC adds: mIoU, precision and recall of many settings, from one pass over the photos.

    python -m benchmarks.cpmc_ablation DATA --weights FILE [--step K] [--limit N] [--only TEXT] [--json FILE]

DATA is laid out as for benchmarks.seeds. Tags are given. Maps are those of `extract` (four scales and flip,
stride-4 scores in 8 bits). The background threshold of each row is the best on the train photos; the val
columns use that same one. `--step K` takes every K-th photo, for a quick search. Features are computed once
a photo and scale, refined maps once for each way of refining.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.seeds import CLASSES, DEFAULTS
from pseudomask.config import ExtractConfig
from pseudomask.data.collection import align_tags, collect
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.errors import PseudomaskError
from pseudomask.extracting.engine import pack
from pseudomask.extracting.extract import parse_scales
from pseudomask.extracting.photos import Photo, Photos, load
from pseudomask.maps import weight_rule
from pseudomask.maps.cam import present_class_maps
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.cpmc.affinity import pool
from pseudomask.maps.cpmc.method import GRID_STRIDE, hierarchical, strides_of
from pseudomask.maps.cpmc.stages import calibrated_stages, refined_map
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import measure
from pseudomask.measuring.sweep import Sweep
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork, WeightRule
from pseudomask.scores import ScoreMap, quantise

FULL = CpmcSettings()
PROTOTYPE = replace(FULL, complete=0.0, suppress=0.0, gamma=0.0, output="calibrated")
REFINED = replace(FULL, output="refined")

VARIANTS: dict[str, CpmcSettings] = {
    # the classifier's map alone
    "classifier, each view / max": replace(REFINED, refine="none"),
    "refined, S^2 T=1": replace(REFINED, refine="propagate", power=2.0, iterations=1),
    "refined, S^2 T=2": replace(REFINED, refine="propagate", power=2.0, iterations=2),
    "refined, S^2 T=3": replace(REFINED, refine="propagate", power=2.0, iterations=3),
    "refined, S^4 T=2": replace(REFINED, refine="propagate", power=4.0, iterations=2),
    "refined, reassign T=1": replace(REFINED, refine="reassign", iterations=1),
    "refined, reassign T=3": replace(REFINED, refine="reassign", iterations=3),
    "refined, both T=2": replace(REFINED, refine="both", iterations=2),
    # the prototype map alone
    "prototype": replace(PROTOTYPE, refine="none"),
    "prototype, plain (contrast 0, background 0.3)": replace(PROTOTYPE, refine="none", contrast=0.0, background=0.3),
    "prototype, refined T=1": replace(PROTOTYPE, iterations=1),
    "prototype, refined T=2": replace(PROTOTYPE, iterations=2),
    "prototype, refined T=3": replace(PROTOTYPE, iterations=3),
    "prototype, refined, both": replace(PROTOTYPE, refine="both"),
    "prototype, refined, contrast 0": replace(PROTOTYPE, contrast=0.0),
    "prototype, refined, contrast 0.9": replace(PROTOTYPE, contrast=0.9),
    "prototype, refined, layer4": replace(PROTOTYPE, features="layer4"),
    # local prototypes
    "+ false negatives": replace(PROTOTYPE, complete=1.0),
    "+ false negatives, high 0.5 low 0.4": replace(PROTOTYPE, complete=1.0, high=0.5, low=0.4),
    "+ false positives": replace(PROTOTYPE, suppress=0.5),
    "+ false positives, hard": replace(PROTOTYPE, suppress=1.0, calibration="hard"),
    "+ both": replace(PROTOTYPE, complete=1.0, suppress=0.5),
    "+ both, argmax": replace(PROTOTYPE, complete=0.5, suppress=0.5, target="argmax"),
    "+ both, target classifier": replace(PROTOTYPE, complete=0.5, suppress=0.5, target="classifier"),
    "+ fusion 0.5": replace(PROTOTYPE, gamma=0.5),
    "+ fusion 1": replace(PROTOTYPE, gamma=1.0),
    "+ both, fusion 1": replace(PROTOTYPE, complete=1.0, suppress=0.5, gamma=1.0),
    "default": FULL,
}
"""The rows; edit to search. The first row is plain CAM or ReCAM but for the division of each view's map."""


@dataclass(frozen=True)
class Variants:
    """A map method that answers for all settings at once: `index` holds the classes once a setting."""

    settings: tuple[CpmcSettings, ...]
    rule: WeightRule
    threshold_key: str = "none"

    def check(self, network: CamNetwork) -> None:
        network.map_weights(self.rule)

    def activate(self, network: CamNetwork, images: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        places = index.shape[1] // len(self.settings)
        index, valid = index[:, :places], valid[:, :places]
        stages = network.backbone.stages(images)
        context = pool(stages[-1], GRID_STRIDE // network.backbone.output_stride)
        features = {"layer4": context.float(), "hierarchical": hierarchical(stages, strides_of(network))}
        maps = present_class_maps(context, network.map_weights(self.rule), index)
        refined: dict[CpmcSettings, tuple[Tensor, Tensor]] = {}
        found = []
        with torch.autocast(images.device.type, enabled=False):
            for one in self.settings:
                key = refining(one)
                if key not in refined:
                    refined[key] = refined_map(maps, context, valid, one)
                pair = refined[key]
                whole = one.output == "calibrated"
                found.append(calibrated_stages(*pair, features[one.features], valid, one).output if whole else pair[1])
        return torch.cat(found, 1)


def refining(settings: CpmcSettings) -> CpmcSettings:
    """What of the settings decides the refined map: all else set to the defaults."""
    kept = {"refine", "iterations", "power"} | (
        {"background", "contrast"} if settings.refine in ("reassign", "both") else set()
    )
    return replace(CpmcSettings(), **{f.name: getattr(settings, f.name) for f in fields(settings) if f.name in kept})


@dataclass
class Row:
    """One line of the table: means over the classes asked for, in percent."""

    settings: str
    threshold: float
    train: float
    val: float
    val_precision: float
    val_recall: float
    val_best: float


def sweeps(
    data: Path, split: str, network: CamNetwork, method: Variants, classes: tuple[str, ...], options: argparse.Namespace
) -> list[Sweep]:
    """The histogram of every setting over one split."""
    config = ExtractConfig(
        images=data / "JPEGImages",
        out=data / "none",
        labels=data / "labels.csv",
        class_file=data / "classes.txt",
        list=data / "ImageSets" / f"{split}.txt",
    )
    collection = align_tags(collect(config.images, config), classes)
    places = range(len(collection.items))[:: options.step][: options.limit]
    device = pick_device("auto")
    n = len(method.settings)
    out = [Sweep(n_classes=len(classes) + 1) for _ in range(n)]
    started = time.monotonic()
    paths = [item.path for item in collection.items]
    for done, photo in enumerate(seen(paths, places, device), 1):
        item = collection.items[photo.place]
        tags = (collection.tags or {})[item.key]
        truth = load_mask(data / "SegmentationClass" / f"{item.key}.png")
        index, valid = pack([tags], device)
        maps = multiscale_maps(
            network,
            method,
            [view[None].to(device) for view in photo.views],
            index.repeat(1, n),
            valid.repeat(1, n),
            grid=(-(-photo.size[0] // 4), -(-photo.size[1] // 4)),
            amp=pick_amp("auto", device),
        )[0].cpu()
        for sweep, values in zip(out, maps.chunk(n), strict=True):
            sweep.update(quantise(ScoreMap(tuple(t + 1 for t in tags), values.numpy(), photo.size, 4), 8), truth)
        if done % 10 == 0:
            rate = done / (time.monotonic() - started)
            print(f"{split}: {done} of {len(places)} photos, {rate:.2f} a second", file=sys.stderr)
    return out


def seen(paths: list[Path], places: range, device: torch.device) -> Iterator[Photo]:
    """The photos at `extract`'s default sizes."""
    photos = Photos(
        paths,
        places,
        scales=parse_scales(DEFAULTS.scales),
        max_side=DEFAULTS.max_side,
        max_pixels=DEFAULTS.max_pixels,
        allow_truncated=False,
        keep_whole=False,
    )
    yield from load(photos, workers=pick_workers(-1), device=device)


def summarise(name: str, train: Sweep, val: Sweep, chosen: np.ndarray) -> Row:
    """Threshold from train, figures on both."""
    on_train = np.array([m.mean_iou(chosen) for m in train.curve()]).ravel()
    on_val = np.array([m.mean_iou(chosen) for m in val.curve()]).ravel()
    best = int(on_train.argmax())
    at = measure(val.table(best))
    figures = [on_train[best], on_val[best], np.nanmean(at.precision[chosen]), np.nanmean(at.recall[chosen])]
    percent = [round(100 * float(x), 2) for x in (*figures, on_val.max())]
    return Row(name, train.thresholds[best], *percent)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--rule", default="auto", help="weight rule of the classifier's map; auto: the card's")
    parser.add_argument("--step", type=int, default=1, help="take every K-th photo of each split")
    parser.add_argument("--limit", type=int, help="and of those the first N")
    parser.add_argument("--only", default="", help="only the settings whose name contains this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    variants = {name: one for name, one in VARIANTS.items() if options.only in name}
    if not variants or options.step < 1:
        parser.error("--only matches no setting" if not variants else "--step must be at least 1")
    try:
        network, card = load_network(options.weights)
        cpmc = Cpmc(replace(FULL, weights=options.rule), weight_rule(DEFAULTS, card))
        method = Variants(tuple(variants.values()), cpmc.rule(network))
        method.check(network)
        names = ("background", *card.classes)
        chosen = np.isin(np.arange(len(names)), [names.index(c) for c in options.classes.split(",")])
        network = network.on(pick_device("auto"))
        train, val = (sweeps(options.data, split, network, method, card.classes, options) for split in ("train", "val"))
    except PseudomaskError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    rows = [summarise(name, *pair, chosen) for name, *pair in zip(variants, train, val, strict=True)]
    print(
        f"| settings (weight rule {method.rule}) | threshold (train) | train mIoU | val mIoU "
        "| val precision | val recall | val, best |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cells = (row.train, row.val, row.val_precision, row.val_recall, row.val_best)
        print(f"| {row.settings} | {row.threshold:.2f} | {' | '.join(f'{x:.1f}' for x in cells)} |")
    if options.json:
        found = [asdict(row) | {"details": asdict(variants[row.settings])} for row in rows]
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
