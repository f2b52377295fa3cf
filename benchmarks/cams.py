"""Every kind of class map (`--cam`) with both classifiers, as it is and as the map that CPMC starts from.

    python -m benchmarks.cams DATA [--weights FILE] [--prototypes RULE=FILE …] [--every 6] [--tta fast]
        [--cams "plain;softmax;…"] [--json FILE]
    python -m benchmarks.cams --cost [--weights FILE] [--prototypes RULE=FILE …] [--json FILE]

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`); tags are given. The first command measures mIoU: the
threshold is the best on train's photos, val uses the same one, of both every `--every`-th photo. The second measures
what a photo of 375 x 500 with two classes costs: processor seconds of one thread (medians, in turns) and peak memory.
Each adds its rows to those that the file has.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.methods_time import views
from benchmarks.recam_step import forget_peak, peak, resident
from benchmarks.seeds import CLASSES, DEFAULTS, summarise, tagged_photos
from pseudomask.config import WeightRule
from pseudomask.devices import pick_amp, pick_device
from pseudomask.extracting.engine import pack
from pseudomask.extracting.loading import load
from pseudomask.extracting.photos import Photos
from pseudomask.maps import weight_rule
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cams import CAMS
from pseudomask.maps.cams.advcam import AdvCam
from pseudomask.maps.cams.finer import FinerCam
from pseudomask.maps.cams.layercam import LayerCam
from pseudomask.maps.cams.lpcam import LpCam, Prototypes
from pseudomask.maps.cams.variant import Cam, NeedsOfCam
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.cpmc.method import context_of, hierarchical
from pseudomask.maps.cpmc.stages import calibrated_stages, refine
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps, see, ways
from pseudomask.maps.normalise import normalise_maps
from pseudomask.maps.passes import PRESETS, Passes, parse_scales
from pseudomask.masks import load_mask
from pseudomask.measuring.sweep import Sweep
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights
from pseudomask.scores import ScoreMap, quantise

MORE: dict[str, Cam] = {
    "finer, λ = 0.3": FinerCam(0.3),
    "finer, λ = 1": FinerCam(1.0),
    "finer, 1 look-alike": FinerCam(classes=1),
    "layercam, 2 stages": LayerCam(2),
}
"""Settings other than the defaults."""


@dataclass
class Kept(NeedsOfCam, Cam):
    """A kind of map that remembers its last maps, because CPMC starts from the same ones."""

    cam: Cam
    last: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.cam.name

    def maps(self, network: CamNetwork, features: Features, weights: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        key = (id(features.image), *index.shape)
        if features.image is None:
            return self.cam.maps(network, features, weights, index, valid)
        if key not in self.last:
            self.last = {key: self.cam.maps(network, features, weights, index, valid)}
        return self.last[key]


def kinds(names: list[str], prototypes: dict[str, Path], rule: WeightRule) -> dict[str, Cam]:
    """The kinds of map by the name of their row."""
    found: dict[str, Cam] = {}
    for name in names:
        if name == "lpcam":
            if rule in prototypes:
                found[name] = LpCam(Prototypes.load(prototypes[rule]), prototypes[rule])
        else:
            found[name] = Kept(AdvCam()) if name == "advcam" else MORE[name] if name in MORE else CAMS[name]()
    return found


def methods(names: list[str], prototypes: dict[str, Path], card: Card) -> dict[tuple[str, str, str], MapMethod]:
    """(kind of map, weight rule, method) → the method."""
    found: dict[tuple[str, str, str], MapMethod] = {}
    for rule in dict.fromkeys(("first", weight_rule(DEFAULTS, card))):
        for name, cam in kinds(names, prototypes, rule).items():
            found[name, rule, "cam"] = LinearMaps(rule, cam)
            found[name, rule, "cpmc"] = Cpmc(CpmcSettings(weights=rule, features="hierarchical"), rule, cam)
    return found


@dataclass(frozen=True)
class Together(MapMethod):
    """Rows in closed form, which share features and affinity: `index` holds the classes once a row."""

    rows: tuple[tuple[WeightRule, Cam, bool], ...]
    pyramid = True
    threshold_key: str = "none"
    default_threshold: float = 0.2

    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        n, settings = index.shape[1] // len(self.rows), CpmcSettings(features="hierarchical")
        index, valid = index[:, :n], valid[:, :n]
        raw = {
            (rule, id(cam)): cam.maps(network, features, network.map_weights(rule), index, valid)
            for rule, cam, _ in self.rows
        }
        started = {key: normalise_maps(maps * valid[..., None, None]) for key, maps in raw.items()}
        context = context_of(features)
        spread = refine(torch.cat([*started.values()], 1), context, valid, settings)
        refined = dict(zip(started, spread.chunk(len(started), 1), strict=True))
        h = hierarchical(features)
        return torch.cat(
            [
                calibrated_stages(started[rule, id(cam)], refined[rule, id(cam)], h, valid, settings).output
                if calibrated
                else raw[rule, id(cam)]
                for rule, cam, calibrated in self.rows
            ],
            1,
        )


class Bench:
    """The network as methods without and with gradients see it."""

    def __init__(self, weights: Path) -> None:
        self.device = pick_device("cpu")
        self.amp = pick_amp("auto", self.device)
        self.plain, self.card = load_network(weights)
        self.folded = load_network(weights)[0].for_maps(self.device, self.amp)

    def for_(self, method: MapMethod) -> dict[str, Any]:
        """Network and precision, as `extract` chooses them."""
        if method.gradients:
            return {"network": self.plain, "amp": None}
        return {"network": self.folded, "amp": self.amp}

    def alone(
        self, method: MapMethod, photo: tuple[Tensor, ...], seen: Passes, tags: tuple[int, ...], size: tuple[int, int]
    ) -> Tensor:
        """One method's maps, as `extract` makes them."""
        index, valid = pack([tags], self.device)
        pixels = [view[None] for view in photo]
        return multiscale_maps(
            **self.for_(method), method=method, views=pixels, index=index, valid=valid, size=size,
            mirrored=seen.mirrored,
        )  # fmt: skip

    def maps(
        self, rows: dict[tuple[str, str, str], MapMethod], photo: tuple[Tensor, ...], seen: Passes,
        tags: tuple[int, ...], size: tuple[int, int],
    ) -> Iterator[tuple[tuple[str, str, str], Tensor]]:  # fmt: skip
        """Each row's maps (N, h, w); rows that need the same features share them."""
        index, valid = pack([tags], self.device)
        pixels = [view[None] for view in photo]
        closed = {key: one for key, one in rows.items() if not one.gradients}
        if closed:
            parts = tuple((key[1], one.cam, key[2] == "cpmc") for key, one in closed.items())  # type: ignore[attr-defined]
            found = multiscale_maps(
                self.folded, Together(parts), pixels, index.repeat(1, len(parts)), valid.repeat(1, len(parts)),
                size=size, mirrored=seen.mirrored, amp=self.amp,
            )[0].chunk(len(parts))  # fmt: skip
            yield from zip(closed, found, strict=True)
            rows = {key: one for key, one in rows.items() if one.gradients}
        for gradients, image in {(one.gradients, one.image) for one in rows.values()}:
            group = {key: one for key, one in rows.items() if (one.gradients, one.image) == (gradients, image)}
            # cpmc reads all stages, so its features do for all
            whole = next((one for one in group.values() if isinstance(one, Cpmc)), next(iter(group.values())))
            how = self.for_(whole)
            shared = {
                i: see(how["network"], whole, one, ways(seen.mirrored, i), amp=how["amp"])
                for i, one in enumerate(pixels)
            }
            for key, method in group.items():
                found = multiscale_maps(
                    how["network"], method, pixels, index, valid, size=size, mirrored=seen.mirrored, amp=how["amp"],
                    seen=shared,
                )  # fmt: skip
                yield key, found[0]


def sweeps(
    bench: Bench, rows: dict[tuple[str, str, str], MapMethod], data: Path, split: str, every: int, seen: Passes
) -> tuple[dict[tuple[str, str, str], Sweep], int]:
    """The histogram of every row over every n-th photo of a split, and how many photos."""
    collection = tagged_photos(data, split, bench.card.classes)
    places = range(0, len(collection.items), every)
    photos = Photos(
        [item.path for item in collection.items], places, scales=seen.scales, max_side=DEFAULTS.max_side,
        max_pixels=DEFAULTS.max_pixels, allow_truncated=False, keep_whole=False,
    )  # fmt: skip
    out = {key: Sweep(n_classes=len(bench.card.classes) + 1) for key in rows}
    started = time.monotonic()
    for n, photo in enumerate(load(photos, workers=0, device=bench.device), 1):
        item = collection.items[photo.index]
        tags = (collection.tags or {})[item.key]
        truth = load_mask(data / "SegmentationClass" / f"{item.key}.png")
        for key, maps in bench.maps(rows, photo.views, seen, tags, photo.size):
            scores = quantise(ScoreMap(tuple(t + 1 for t in tags), maps.numpy(), photo.size, 4), 8)
            out[key].update(scores, truth)
        if n % 5 == 1:
            spent = time.monotonic() - started
            print(f"{split}: {n} of {len(places)} photos, {spent / n:.1f} s each", file=sys.stderr, flush=True)
    return out, len(places)


def passes(options: argparse.Namespace) -> Passes:
    return Passes(parse_scales(options.scales), mirrored=False) if options.scales else PRESETS[options.tta]


def quality(bench: Bench, options: argparse.Namespace, prototypes: dict[str, Path]) -> list[dict[str, Any]]:
    """mIoU of every row."""
    rows = methods(options.cams.split(";"), prototypes, bench.card)
    seen = passes(options)
    names = ("background", *bench.card.classes)
    chosen = np.isin(np.arange(len(names)), [names.index(c) for c in CLASSES.split(",")])
    train, n_train = sweeps(bench, rows, options.data, "train", options.every, seen)
    val, n_val = sweeps(bench, rows, options.data, "val", options.every, seen)
    found = []
    for cam, rule, method in rows:
        one = summarise(cam, 0, train[cam, rule, method], val[cam, rule, method], chosen)
        found.append(
            {"cam": cam, "rule": rule, "method": method, "passes": str(seen), "photos": [n_train, n_val],
             "threshold": one.threshold, "train": one.train, "val": one.val, "val_precision": one.val_precision,
             "val_recall": one.val_recall}
        )  # fmt: skip
    return found


def cost(bench: Bench, options: argparse.Namespace, prototypes: dict[str, Path]) -> list[dict[str, Any]]:
    """Processor seconds and memory of every row, in turns."""
    seen = passes(options)
    photo = tuple(view[0] for view in views((375, 500), seen.scales))
    rows = methods(options.cams.split(";"), prototypes, bench.card)
    seconds: dict[tuple[str, str, str], list[float]] = {key: [] for key in rows}
    memory: dict[tuple[str, str, str], int] = {}
    for turn in range(options.repeats + 1):
        for key, method in rows.items():
            before = resident()
            forget_peak()
            started = time.process_time()
            bench.alone(method, photo, seen, (0, 1), (94, 125))
            if turn:
                seconds[key].append(time.process_time() - started)
                memory[key] = max(memory.get(key, 0), peak() - before)
            print(turn, key, file=sys.stderr, flush=True)
    return [
        {"cam": cam, "rule": rule, "method": method, "seconds": round(statistics.median(times), 3),
         "spread": [round(min(times), 3), round(max(times), 3)],
         "memory_mib": round(memory[cam, rule, method] / 2**20)}
        for (cam, rule, method), times in seconds.items()
    ]  # fmt: skip


def merged(path: Path | None, part: str, rows: list[dict[str, Any]], facts: dict[str, Any]) -> dict[str, Any]:
    """What the file holds, with these rows in place of those of the same names."""
    document: dict[str, Any] = json.loads(path.read_text("utf-8")) if path and path.exists() else {}
    key = ("cam", "rule", "method", "passes") if part == "quality" else ("cam", "rule", "method")
    new = {tuple(row[name] for name in key) for row in rows}
    old = [row for row in document.get(part, []) if tuple(row[name] for name in key) not in new]
    return document | facts | {part: old + rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--prototypes", action="append", default=[], metavar="RULE=FILE")
    parser.add_argument("--cams", default=";".join([*(name for name in CAMS if name != "advcam"), *MORE]))
    parser.add_argument("--every", type=int, default=6, help="only every n-th photo of both splits")
    parser.add_argument("--tta", choices=PRESETS, default="fast")
    parser.add_argument("--scales", help="instead of those of --tta, none mirrored")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bench = Bench(find_weights(options.weights))
    prototypes = {rule: Path(file) for rule, _, file in (text.partition("=") for text in options.prototypes)}
    part, work = ("cost", cost) if options.cost else ("quality", quality)
    rows = work(bench, options, prototypes)
    for row in rows:
        print(row)
    if options.json:
        facts = {"every": options.every, "torch": torch.__version__, "threads": torch.get_num_threads()}
        document = merged(options.json, part, rows, facts)
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
