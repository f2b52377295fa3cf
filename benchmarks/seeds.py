"""Seed quality of CAM and ReCAM: mIoU of the thresholded maps, one row a weight rule.

    python -m benchmarks.seeds DATA --pair CAM.safetensors:RECAM.safetensors [--pair …] [--json FILE]

DATA is laid out like PASCAL VOC: JPEGImages, SegmentationClass, ImageSets/{train,val}.txt, labels.csv and
classes.txt. Each pair is one training seed: the weights of `train-cls` and of `reactivate`. Tags are
given. Maps are those of `extract` at its defaults (four scales and flip, stride-4 scores in 8 bits).
The background threshold is the best on the train photos; the val column uses that same threshold.
Where both networks share a backbone (reactivate --freeze layer4), one pass over the photos serves all rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from pseudomask.config import ExtractConfig
from pseudomask.data.collection import Collection, align_tags, collect
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.extracting.engine import pack
from pseudomask.extracting.loading import load
from pseudomask.extracting.ordering import batches
from pseudomask.extracting.photos import Photos
from pseudomask.maps.cam import present_class_maps
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.maps.passes import PRESETS
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import measure
from pseudomask.measuring.sweep import Sweep
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.scores import ScoreMap, quantise

CLASSES = "background,cat,cow,dog,horse,sheep,person"
DEFAULTS = ExtractConfig(images=Path(), out=Path())


@dataclass(frozen=True)
class SideBySide(MapMethod):
    """A map method that answers for several weight matrices at once: `index` holds the classes once a row."""

    weights: tuple[Tensor, ...]
    threshold_key: str = "none"
    default_threshold: float = 0.2

    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        parts = index.chunk(len(self.weights), 1)
        return torch.cat([present_class_maps(features.last, w, i) for w, i in zip(self.weights, parts, strict=True)], 1)


@dataclass
class Row:
    """One line of the table: means over the classes asked for, in percent."""

    map: str
    seed: int
    threshold: float
    train: float
    val: float
    val_precision: float
    val_recall: float
    val_best: float


def tagged_photos(data: Path, split: str, classes: tuple[str, ...], limit: int | None = None) -> Collection:
    """The photos of one split of DATA, with their tags in the order of `classes`."""
    config = ExtractConfig(
        images=data / "JPEGImages",
        out=data / "none",
        labels=data / "labels.csv",
        class_file=data / "classes.txt",
        list=data / "ImageSets" / f"{split}.txt",
        limit=limit,
    )
    return align_tags(collect(config.images, config), classes)


def sweeps(
    data: Path, split: str, network: CamNetwork, rows: dict[str, Tensor], classes: tuple[str, ...], limit: int | None
) -> dict[str, Sweep]:
    """The histogram of every row over one split."""
    collection = tagged_photos(data, split, classes, limit)
    device = pick_device("auto")
    network = network.on(device)
    method = SideBySide(tuple(w.to(device) for w in rows.values()))
    photos = Photos(
        [item.path for item in collection.items],
        range(len(collection.items)),
        scales=PRESETS["full"].scales,
        max_side=DEFAULTS.max_side,
        max_pixels=DEFAULTS.max_pixels,
        allow_truncated=False,
        keep_whole=False,
    )
    out = {name: Sweep(n_classes=len(classes) + 1) for name in rows}
    started = time.monotonic()
    for n, batch in enumerate(batches(load(photos, workers=pick_workers(-1), device=device), 1)):
        photo = batch[0]
        item = collection.items[photo.index]
        tags = (collection.tags or {})[item.key]
        truth = load_mask(data / "SegmentationClass" / f"{item.key}.png")
        index, valid = pack([tags], device)
        k = len(tags)
        maps = multiscale_maps(
            network,
            method,
            [view[None].to(device) for view in photo.views],
            index.repeat(1, len(rows)),
            valid.repeat(1, len(rows)),
            size=photo.size,
            amp=pick_amp("auto", device),
        )[0].cpu()
        for r, sweep in enumerate(out.values()):
            values = maps[r * k : (r + 1) * k].numpy()
            scores = quantise(ScoreMap(tuple(t + 1 for t in tags), values, photo.size, 4), 8)
            sweep.update(scores, truth)
        if n % 50 == 49:
            rate = (n + 1) / (time.monotonic() - started)
            print(
                f"{split}: {n + 1} of {len(collection.items)} photos, {rate:.2f} a second", file=sys.stderr, flush=True
            )
    return out


def summarise(name: str, seed: int, train: Sweep, val: Sweep, chosen: np.ndarray) -> Row:
    """Threshold from train, figures on both."""
    on_train = np.array([m.mean_iou(chosen) for m in train.curve()]).ravel()
    on_val = np.array([m.mean_iou(chosen) for m in val.curve()]).ravel()
    best = int(on_train.argmax())
    at = measure(val.table(best))
    return Row(
        map=name,
        seed=seed,
        threshold=train.thresholds[best],
        train=round(100 * float(on_train[best]), 2),
        val=round(100 * float(on_val[best]), 2),
        val_precision=round(100 * float(np.nanmean(at.precision[chosen])), 2),
        val_recall=round(100 * float(np.nanmean(at.recall[chosen])), 2),
        val_best=round(100 * float(on_val.max()), 2),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--pair", action="append", required=True, metavar="CAM:RECAM")
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--limit", type=int, help="only the first N photos of each split (a trial)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    for seed, pair in enumerate(options.pair):
        cam_file, recam_file = (Path(part) for part in pair.split(":"))
        cam, card = load_network(cam_file)
        recam, _ = load_network(recam_file)
        names = ("background", *card.classes)
        chosen = np.isin(np.arange(len(names)), [names.index(c) for c in options.classes.split(",")])
        plain = {"CAM (train-cls)": cam.map_weights("first")}
        rules = {
            "ReCAM network, w (first)": recam.map_weights("first"),
            "ReCAM, w⊙w″ (product)": recam.map_weights("product"),
            "ReCAM, w″ (second)": recam.map_weights("second"),
            "ReCAM, w+w″ (sum)": recam.map_weights("sum"),
        }
        ours, theirs = cam.backbone.state_dict(), recam.backbone.state_dict()
        shared = all(torch.equal(value, theirs[key]) for key, value in ours.items())
        jobs = [(recam, plain | rules)] if shared else [(cam, plain), (recam, rules)]
        for network, weights in jobs:
            found = {
                split: sweeps(options.data, split, network, weights, card.classes, options.limit)
                for split in ("train", "val")
            }
            rows += [summarise(n, seed, found["train"][n], found["val"][n], chosen) for n in weights]
            print(*rows[-len(weights) :], sep="\n", file=sys.stderr, flush=True)
    head = ("map", "seeds", "threshold (train)", "train mIoU", "val mIoU", "val precision", "val recall", "val, best")
    print("| " + " | ".join(head) + " |")
    print("|---|---|---|---|---|---|---|---|")
    for name in dict.fromkeys(row.map for row in rows):
        same = [row for row in rows if row.map == name]
        fields = ("train", "val", "val_precision", "val_recall", "val_best")
        cells = [_spread([getattr(row, field) for row in same]) for field in fields]
        thresholds = ", ".join(f"{r.threshold:.2f}" for r in same)
        print(f"| {name} | {len(same)} | {thresholds} | {' | '.join(cells)} |")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def _spread(values: list[float]) -> str:
    """Mean and the lowest and highest seed."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{mean(values):.1f} ({min(values):.1f}–{max(values):.1f})"


if __name__ == "__main__":
    main()
