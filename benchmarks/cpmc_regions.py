"""Are the regions where classifier and prototype map disagree what their names say?

    python -m benchmarks.cpmc_regions DATA --weights FILE [--rule first] [--split train] [--limit N] [--json FILE]

For each reading of S3: how much of the photos is a false-negative (FN) or false-positive (FP) region, and how
much of that is right: FN that truly is the class, FP that truly is not. True masks judge here and choose nothing.
Photos are seen once, at their own size; DATA is laid out as for benchmarks.seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.seeds import DEFAULTS, tagged_photos
from pseudomask.data.decoding import decode
from pseudomask.data.pixels import IMAGENET
from pseudomask.devices import pick_amp, pick_device
from pseudomask.extracting.engine import pack
from pseudomask.maps import weight_rule
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.cpmc.prototypes import background_of, seeds
from pseudomask.maps.cpmc.stages import disagreement
from pseudomask.masks import load_mask
from pseudomask.networks.checkpoint import load_network

READINGS = {
    f"{target}, {high:g} and {low:g}" if target != "argmax" else "argmax": replace(
        CpmcSettings(features="hierarchical"), target=target, high=high, low=low
    )
    for target, high, low in (
        ("prototype", 0.4, 0.2),
        ("prototype", 0.6, 0.5),
        ("classifier", 0.4, 0.2),
        ("classifier", 0.6, 0.5),
        ("argmax", 0.6, 0.5),
    )
}


def shares(data: Path, split: str, weights: Path, rule: str | None, limit: int | None) -> dict[str, np.ndarray]:
    """Counts of grid positions by reading: (FN, FN that are right, FP, FP that are right, all judged)."""
    device = pick_device("auto")
    amp = pick_amp("auto", device)
    network, card = load_network(weights)
    network = network.on(device)
    method = Cpmc(CpmcSettings(weights=rule or "auto", features="hierarchical"), weight_rule(DEFAULTS, card))
    collection = tagged_photos(data, split, card.classes, limit)
    counts = {name: np.zeros(5, np.int64) for name in READINGS}
    for done, item in enumerate(collection.items, 1):
        tags = (collection.tags or {})[item.key]
        index, valid = pack([tags], device)
        pixels = torch.from_numpy(decode(item.path))[None].to(device)
        with torch.inference_mode(), torch.autocast(device.type, amp, enabled=amp is not None):
            found = method.stages(network, network.backbone(IMAGENET.to_input(pixels)), index, valid)
        truth = load_mask(data / "SegmentationClass" / f"{item.key}.png")
        h, w = found.refined.shape[-2:]
        truth = cv2.resize(truth, (w, h), interpolation=cv2.INTER_NEAREST)
        labels = seeds(found.refined, background_of(found.refined), method.settings.background)
        for name, settings in READINGS.items():
            regions = disagreement(found.refined, found.prototype, labels, settings)
            for place, tag in enumerate(tags):
                known, is_class = truth != 255, truth == tag + 1
                negative, positive = (r[0, place].cpu().numpy() & known for r in (regions.negative, regions.positive))
                masks = (negative, negative & is_class, positive, positive & ~is_class, known)
                counts[name] += [int(one.sum()) for one in masks]
        if done % 100 == 0:
            print(f"{done} of {len(collection.items)} photos", file=sys.stderr)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rule", help="weight rule of the classifier's map; by default the card's")
    parser.add_argument("--split", default="train")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts = shares(options.data, options.split, options.weights, options.rule, options.limit)
    print("| reading | FN, share of grid | FN that is the class | FP, share of grid | FP that is not the class |")
    print("|---|---|---|---|---|")
    rows = []
    for name, (negative, right, positive, noise, known) in counts.items():
        values = negative / known, right / max(negative, 1), positive / known, noise / max(positive, 1)
        rows.append(
            {"reading": name} | dict(zip(("fn", "fn_right", "fp", "fp_right"), map(float, values), strict=True))
        )
        print(f"| {name} | {' | '.join(f'{100 * x:.1f} %' for x in values)} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
