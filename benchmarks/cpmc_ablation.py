"""What each step of CPMC adds: mIoU, precision and recall of many settings, from one pass over the photos.

    python -m benchmarks.cpmc_ablation DATA --weights FILE [--rules first,second] [--set table|search]
        [--tta PRESET] [--splits train,val] [--step K] [--limit N] [--only REGEX] [--rest REGEX] [--json FILE]

DATA is laid out as for benchmarks.seeds. Tags are given. Maps are those of `extract` at --tta, by default as there
(stride-4 scores in 8 bits). The background threshold of each row is the best on the train photos; the val
columns use that same one. `--set search --splits train --step 6` is how the defaults were chosen: a grid on
every sixth train photo, no val photo looked at. Features are computed once a photo and scale, refined maps
once for each way of refining.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.seeds import CLASSES, DEFAULTS, tagged_photos
from pseudomask.config.quality import QUALITIES, USUAL
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.errors import PseudomaskError
from pseudomask.extracting.engine import pack
from pseudomask.extracting.loading import load
from pseudomask.extracting.photos import Photo, Photos
from pseudomask.maps import weight_rule
from pseudomask.maps.cam import present_class_maps
from pseudomask.maps.cpmc import CpmcSettings
from pseudomask.maps.cpmc.method import context_of, hierarchical
from pseudomask.maps.cpmc.stages import calibrated_stages, refined_map
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.maps.passes import PRESETS
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import measure
from pseudomask.measuring.sweep import Sweep
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork, WeightRule
from pseudomask.scores import ScoreMap, quantise

FULL = CpmcSettings(features="hierarchical")
PROTOTYPE = replace(FULL, complete=0.0, suppress=0.0, gamma=0.0, output="calibrated")
REFINED = replace(FULL, output="refined")
HEADS = replace(PROTOTYPE, features="heads")
PLAIN: CpmcSettings | None = None
"""Stands for `--method cam` or `recam` with the same weight rule."""

TABLE: dict[str, CpmcSettings | None] = {
    "classifier map (cam, recam)": PLAIN,
    "prototype map, no refinement": replace(PROTOTYPE, refine="none"),
    **{f"refined map, T={times}": replace(REFINED, iterations=times) for times in (1, 2, 3, 4)},
    "refined map, reassign": replace(REFINED, refine="reassign", iterations=3),
    **{f"prototype map of refined T={times}": replace(PROTOTYPE, iterations=times) for times in (1, 2, 3, 4)},
    "+ false negatives": replace(PROTOTYPE, complete=1.0),
    "+ false positives": replace(PROTOTYPE, suppress=0.3),
    "+ both": replace(PROTOTYPE, complete=1.0, suppress=0.3),
    "refined map + both (classifier as target)": replace(PROTOTYPE, target="classifier", complete=1.0, suppress=0.3),
    "+ fusion, γ=0.3": replace(PROTOTYPE, gamma=0.3),
    "last stage's features alone": replace(PROTOTYPE, features="last"),
    "trained heads": HEADS,
    "trained heads + both": replace(HEADS, complete=1.0, suppress=0.3),
}
"""The table of docs/results.md; rows with heads need the weights of `calibrate`."""

BEST = PROTOTYPE
SEARCH: dict[str, CpmcSettings | None] = (
    {
        f"S^{power:g}, T={times}": replace(BEST, power=power, iterations=times)
        for power, times in ((3.0, 2), (3.0, 3), (4.0, 2), (4.0, 3), (4.0, 4), (6.0, 3), (6.0, 5), (8.0, 5), (8.0, 8))
    }
    | {"both, S^4, T=3": replace(BEST, refine="both"), "last": replace(BEST, features="last")}
    | {
        f"{target} {high:g}/{low:g} kappa {complete:g} lambda {suppress:g}": replace(
            BEST, target=target, high=high, low=low, complete=complete, suppress=suppress
        )
        for target, high, low in (("prototype", 0.6, 0.5), ("classifier", 0.5, 0.4), ("argmax", 0.4, 0.2))
        for complete, suppress in ((1.0, 0.0), (0.0, 0.3), (1.0, 0.3))
    }
    | {f"fusion {gamma:g}": replace(BEST, gamma=gamma) for gamma in (0.3, 1.0)}
)
"""A grid around the defaults; edit to search."""

SPLITS = ("train", "val")
SETS = {"table": TABLE, "search": SEARCH}


@dataclass(frozen=True)
class Variants(MapMethod):
    """A map method that answers for all rows at once: `index` holds the classes once a row."""

    pyramid = True

    rows: tuple[tuple[WeightRule, CpmcSettings | None], ...]
    threshold_key: str = "none"
    default_threshold: float = 0.2

    def check(self, network: CamNetwork) -> None:
        for rule, _ in self.rows:
            network.map_weights(rule)

    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        places = index.shape[1] // len(self.rows)
        index, valid = index[:, :places], valid[:, :places]
        context = context_of(features)
        kinds = {"last": context, "hierarchical": hierarchical(features)}
        if network.side_heads is not None:
            kinds["heads"] = hierarchical(features, network.side_heads)
        maps: dict[WeightRule, Tensor] = {}
        refined: dict[tuple[WeightRule, CpmcSettings], tuple[Tensor, Tensor]] = {}
        found = []
        with torch.autocast(context.device.type, enabled=False):
            for rule, one in self.rows:
                if rule not in maps:
                    maps[rule] = present_class_maps(context, network.map_weights(rule), index)
                if one is None:
                    found.append(maps[rule])
                    continue
                key = rule, refining(one)
                if key not in refined:
                    refined[key] = refined_map(maps[rule], context, valid, one)
                pair = refined[key]
                whole = one.output == "calibrated"
                found.append(calibrated_stages(*pair, kinds[one.features], valid, one).output if whole else pair[1])
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

    rule: str
    settings: str
    threshold: float
    train: float
    train_precision: float
    train_recall: float
    val: float | None = None
    val_precision: float | None = None
    val_recall: float | None = None
    val_best: float | None = None


def sweeps(
    data: Path, split: str, network: CamNetwork, method: Variants, classes: tuple[str, ...], options: argparse.Namespace
) -> list[Sweep]:
    """The histogram of every setting over one split."""
    collection = tagged_photos(data, split, classes)
    places = range(len(collection.items))[:: options.step][: options.limit]
    device = pick_device("auto")
    n = len(method.rows)
    out = [Sweep(n_classes=len(classes) + 1) for _ in range(n)]
    started = time.monotonic()
    paths = [item.path for item in collection.items]
    for done, photo in enumerate(seen(paths, places, device, PRESETS[options.tta].scales), 1):
        item = collection.items[photo.index]
        tags = (collection.tags or {})[item.key]
        truth = load_mask(data / "SegmentationClass" / f"{item.key}.png")
        index, valid = pack([tags], device)
        maps = multiscale_maps(
            network,
            method,
            [view[None].to(device) for view in photo.views],
            index.repeat(1, n),
            valid.repeat(1, n),
            size=photo.size,
            mirrored=PRESETS[options.tta].mirrored,
            amp=pick_amp("auto", device),
        )[0].cpu()
        for sweep, values in zip(out, maps.chunk(n), strict=True):
            sweep.update(quantise(ScoreMap(tuple(t + 1 for t in tags), values.numpy(), photo.size, 4), 8), truth)
        if done % 10 == 0:
            rate = done / (time.monotonic() - started)
            print(f"{split}: {done} of {len(places)} photos, {rate:.2f} a second", file=sys.stderr)
    return out


def seen(paths: list[Path], places: range, device: torch.device, scales: tuple[float, ...]) -> Iterator[Photo]:
    """The photos as `extract` sees them."""
    photos = Photos(
        paths,
        places,
        scales=scales,
        max_side=DEFAULTS.max_side,
        max_pixels=DEFAULTS.max_pixels,
        allow_truncated=False,
        keep_whole=False,
    )
    yield from load(photos, workers=pick_workers(-1), device=device)


def summarise(rule: str, name: str, found: dict[str, Sweep], chosen: np.ndarray) -> Row:
    """Threshold from train, figures on both."""
    train = found["train"]
    curve = np.array([m.mean_iou(chosen) for m in train.curve()]).ravel()
    best = int(curve.argmax())
    row = Row(rule, name, train.thresholds[best], *_at(train, best, chosen))
    if "val" not in found:
        return row
    val = np.array([m.mean_iou(chosen) for m in found["val"].curve()]).ravel()
    miou, precision, recall = _at(found["val"], best, chosen)
    return replace(row, val=miou, val_precision=precision, val_recall=recall, val_best=round(100 * float(val.max()), 2))


def _at(sweep: Sweep, place: int, chosen: np.ndarray) -> tuple[float, float, float]:
    """mIoU, precision, recall in percent at one threshold."""
    at = measure(sweep.table(place))
    means = (at.mean_iou(chosen), np.nanmean(at.precision[chosen]), np.nanmean(at.recall[chosen]))
    one, two, three = (round(100 * float(np.asarray(x).item()), 2) for x in means)
    return one, two, three


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--rules", help="weight rules of the classifier's map; by default first and the card's")
    parser.add_argument("--set", choices=SETS, default="table")
    parser.add_argument("--tta", choices=PRESETS, default=QUALITIES[USUAL].tta)
    parser.add_argument("--splits", default="train,val", help="train, which chooses the thresholds, or train,val")
    parser.add_argument("--step", type=int, default=1, help="take every K-th photo of each split")
    parser.add_argument("--limit", type=int, help="and of those the first N")
    parser.add_argument("--only", default="", help="only the settings whose name matches this regular expression")
    parser.add_argument("--rest", default="", help="the same for the rows of all weight rules after the first")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    variants = {name: one for name, one in SETS[options.set].items() if re.search(options.only, name)}
    splits = options.splits.split(",")
    if options.step < 1 or splits not in (["train"], ["train", "val"]):
        parser.error("--step must be at least 1" if options.step < 1 else "--splits is train or train,val")
    try:
        network, card = load_network(options.weights)
        if network.side_heads is None:
            variants = {name: one for name, one in variants.items() if one is None or one.features != "heads"}
        if not variants:
            parser.error("--only matches no setting that these weights can make")
        rules = options.rules or ",".join(dict.fromkeys(("first", weight_rule(DEFAULTS, card))))
        places = [
            (rule, name)
            for number, rule in enumerate(rules.split(","))
            for name in variants
            if number == 0 or re.search(options.rest, name)
        ]
        method = Variants(tuple((rule, variants[name]) for rule, name in places))  # type: ignore[misc]
        method.check(network)
        names = ("background", *card.classes)
        chosen = np.isin(np.arange(len(names)), [names.index(c) for c in options.classes.split(",")])
        network = network.on(pick_device("auto"))
        found = {split: sweeps(options.data, split, network, method, card.classes, options) for split in splits}
    except PseudomaskError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    rows = [summarise(*one, {s: found[s][i] for s in splits}, chosen) for i, one in enumerate(places)]
    print("| weights | map | threshold | train mIoU, precision, recall | val mIoU, precision, recall | val, best |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        train, val = ((getattr(row, s), getattr(row, f"{s}_precision"), getattr(row, f"{s}_recall")) for s in SPLITS)
        cells = [", ".join("–" if x is None else f"{x:.1f}" for x in part) for part in (train, val, (row.val_best,))]
        print(f"| {row.rule} | {row.settings} | {row.threshold:.2f} | {' | '.join(cells)} |")
    if options.json:
        details = [SETS[options.set][row.settings] for row in rows]
        document = [asdict(row) | {"details": asdict(d) if d else None} for row, d in zip(rows, details, strict=True)]
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
