"""Which of the scales and mirror images earn their cost: mIoU against time of subsets of the eight passes.

    python -m benchmarks.tta DATA [--method recam|cam|cpmc] [--weights FILE] [--every 1] [--json FILE]

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`); tags are given. Each photo goes through the network once
for each scale and mirror; every subset adds up its own maps, as `extract` would (stride-4 scores in 8 bits). The
threshold of each subset is the best on train; the val column uses it. Time is that of the subset's passes in this
very run, all passes = 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.seeds import CLASSES, DEFAULTS, summarise
from pseudomask.config import ExtractConfig
from pseudomask.data.collection import align_tags, collect
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.extracting.loading import load
from pseudomask.extracting.photos import Photos
from pseudomask.maps import make_method
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import see
from pseudomask.maps.normalise import normalise_maps
from pseudomask.maps.passes import PRESETS
from pseudomask.maps.placing import placed
from pseudomask.masks import load_mask
from pseudomask.measuring.sweep import Sweep
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights
from pseudomask.scores import ScoreMap, quantise

SCALES = PRESETS["full"].scales
Pass = tuple[float, bool]


def _both(*scales: float) -> tuple[Pass, ...]:
    return tuple((scale, mirrored) for scale in scales for mirrored in (False, True))


def _straight(*scales: float) -> tuple[Pass, ...]:
    return tuple((scale, False) for scale in scales)


def _alternating(*scales: float) -> tuple[Pass, ...]:
    """Every scale once, every second one mirrored."""
    return tuple((scale, i % 2 == 1) for i, scale in enumerate(scales))


SUBSETS: dict[str, tuple[Pass, ...]] = {
    "1, 0.5, 1.5, 2, mirrored too": _both(1, 0.5, 1.5, 2),
    "1, 0.5, 1.5, mirrored too": _both(1, 0.5, 1.5),
    "1, 0.5, 2, mirrored too": _both(1, 0.5, 2),
    "1, 1.5, mirrored too": _both(1, 1.5),
    "1, 0.5, mirrored too": _both(1, 0.5),
    "0.5, 1.5, mirrored too": _both(0.5, 1.5),
    "1, mirrored too": _both(1),
    "0.5, mirrored too": _both(0.5),
    "1.5, mirrored too": _both(1.5),
    "2, mirrored too": _both(2),
    "1, 0.5, 1.5, 2": _straight(1, 0.5, 1.5, 2),
    "1, 0.5, 1.5, 2, every second one mirrored": _alternating(1, 0.5, 1.5, 2),
    "1, 0.5, 1.5": _straight(1, 0.5, 1.5),
    "1, 0.5, 2": _straight(1, 0.5, 2),
    "1, 1.5": _straight(1, 1.5),
    "0.5, 1.5": _straight(0.5, 1.5),
    "1, 0.5": _straight(1, 0.5),
    "1": _straight(1),
    "0.5": _straight(0.5),
}


@torch.inference_mode()
def passes(
    network: CamNetwork, method: MapMethod, views: tuple[Tensor, ...], tags: tuple[int, ...], size: tuple[int, int],
    amp: torch.dtype | None, seconds: dict[Pass, float],
) -> dict[Pass, Tensor]:  # fmt: skip
    """The maps (N, h, w) of each pass over one photo; adds to the seconds that each pass has taken."""
    index, valid = torch.tensor([tags]), torch.ones(1, len(tags), dtype=torch.bool)
    found = {}
    for scale, view in zip(SCALES, views, strict=True):
        for mirrored in (False, True):
            started = time.perf_counter()
            features = see(network, method, view[None], (mirrored,), amp=amp)
            with torch.autocast(view.device.type, amp, enabled=amp is not None):
                maps = method.activate(network, features, index, valid)
            found[scale, mirrored] = placed(maps, features, size, 4, mirrored=mirrored)[0]
            seconds[scale, mirrored] = seconds.get((scale, mirrored), 0.0) + time.perf_counter() - started
    return found


def sweeps(data: Path, split: str, options: argparse.Namespace) -> tuple[dict[str, Sweep], dict[Pass, float]]:
    """The histogram of each subset over one split, and the seconds of each pass."""
    network, card = load_network(find_weights(options.weights))
    device = pick_device("cpu")
    amp = pick_amp("auto", device)
    network = network.for_maps(device, amp)
    method = make_method(dataclasses.replace(DEFAULTS, method=options.method), card)
    config = ExtractConfig(
        images=data / "JPEGImages", out=data / "none", labels=data / "labels.csv", class_file=data / "classes.txt",
        list=data / "ImageSets" / f"{split}.txt",
    )  # fmt: skip
    collection = align_tags(collect(config.images, config), card.classes)
    places = range(0, len(collection.items), options.every)
    photos = Photos(
        [item.path for item in collection.items], places, scales=SCALES, max_side=DEFAULTS.max_side,
        max_pixels=DEFAULTS.max_pixels, allow_truncated=False, keep_whole=False,
    )  # fmt: skip
    out = {name: Sweep(n_classes=len(card.classes) + 1) for name in SUBSETS}
    seconds: dict[Pass, float] = {}
    for n, photo in enumerate(load(photos, workers=pick_workers(-1), device=device), 1):
        item = collection.items[photo.index]
        tags = (collection.tags or {})[item.key]
        truth = load_mask(data / "SegmentationClass" / f"{item.key}.png")
        maps = passes(network, method, photo.views, tags, photo.size, amp, seconds)
        for name, subset in SUBSETS.items():
            values = normalise_maps(sum((maps[one] for one in subset), torch.zeros(())))
            scores = quantise(ScoreMap(tuple(t + 1 for t in tags), values.numpy(), photo.size, 4), 8)
            out[name].update(scores, truth)
        if n % 25 == 0:
            print(f"{split}: {n} of {len(places)} photos", file=sys.stderr, flush=True)
    return out, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--method", default="recam")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every n-th photo of both splits")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = load_network(find_weights(options.weights))[1].classes
    chosen = np.array([name == "background" or name in CLASSES.split(",") for name in ("background", *names)])
    train, seconds = sweeps(options.data, "train", options)
    val, _ = sweeps(options.data, "val", options)
    total = sum(seconds.values())
    rows: list[dict[str, Any]] = []
    print("| passes | time | threshold | train mIoU | val mIoU |\n|---|---:|---:|---:|---:|")
    for name, subset in SUBSETS.items():
        row = summarise(name, 0, train[name], val[name], chosen)
        share = sum(seconds[one] for one in subset) / total
        rows.append({"passes": name, "time": round(share, 3), **dataclasses.asdict(row)})
        print(f"| {name} | {share:.2f} | {row.threshold:.2f} | {row.train:.1f} | {row.val:.1f} |")
    if options.json:
        document = {"method": options.method, "every": options.every, "torch": torch.__version__, "rows": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
