"""What a photo costs by method and refiner: time and memory of the maps of cam, recam and cpmc, and of refining.

    python -m benchmarks.methods_time [--size 375x500 --size 1500x2000] [--tta full|balanced|fast] [--weights FILE]
        [--repeats N] [--json FILE]

Random photos of the given height x width, seen as `extract` sees them with --tta (two classes present, the default
precision), one at a time, without reduction. Refiners get a photo of examples/photos at that size, with scores of two
random blobs; the walk has a boundary network with random weights, which costs the same. All take turns, medians are
compared with cam's. Memory is the peak of one call minus what was held before it (Linux; elsewhere the process's
peak).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.recam_step import forget_peak, peak, resident
from benchmarks.seeds import DEFAULTS
from pseudomask.config import RefineConfig
from pseudomask.config.extract import Tta
from pseudomask.data.decoding import decode
from pseudomask.devices import pick_amp, pick_device
from pseudomask.maps import weight_rule
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.maps.passes import PRESETS
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, save_network
from pseudomask.networks.edge_weights import backbone_hash
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights
from pseudomask.refining import REFINERS
from pseudomask.scores import ScoreMap

TARGET = 1.5
"""The most that cpmc may take of cam's time."""


PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "cat_chelsea.jpg"


def views(size: tuple[int, int], scales: Sequence[float]) -> list[Tensor]:
    """One smooth random photo at every scale: uint8 (1, h, w, 3) each."""
    coarse = torch.rand(1, 3, *(max(1, side // 16) for side in size))
    found = []
    for scale in scales:
        shape = [round(side * scale) for side in size]
        found.append((F.interpolate(coarse, shape, mode="bicubic").clamp(0, 1) * 255).byte().permute(0, 2, 3, 1))
    return found


def making(network: CamNetwork, method: MapMethod, size: tuple[int, int], preset: Tta) -> Callable[[], object]:
    """The making of a photo's maps."""
    device = next(network.parameters()).device
    photo = [view.to(device) for view in views(size, PRESETS[preset].scales)]
    index, valid = torch.tensor([[0, 1]], device=device), torch.ones(1, 2, dtype=torch.bool, device=device)
    return lambda: multiscale_maps(
        network, method, photo, index, valid, mirrored=PRESETS[preset].mirrored,
        size=size, amp=pick_amp("auto", device),
    ).cpu()  # fmt: skip


def refining(name: str, affinity: Path, weights: Path, size: tuple[int, int]) -> Callable[[], object]:
    """The refining of a photo's scores: two blobs that fade towards their edges."""
    config = RefineConfig(images=Path(), seeds=Path(), out=Path(), affinity=affinity, walk_weights=weights)
    photo = np.asarray(Image.fromarray(decode(PHOTO)).resize(size[::-1]))
    noise = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    grid = [-(-side // 4) for side in size]
    blobs = F.interpolate(noise, grid, mode="bicubic").clamp(0, 1)[0].numpy()
    refiner, scores = REFINERS[name](config), ScoreMap((1, 2), blobs, size, 4)
    return lambda: refiner.refine(photo, scores, 0.5)


def measure(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, Any]:
    """Median seconds (after one call that does not count) and peak bytes of each, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    memory: dict[str, int] = {}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            before = resident()
            forget_peak()
            started = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - started)
                memory[name] = max(memory.get(name, 0), peak() - before)
    return {
        name: {
            "seconds": statistics.median(times),
            "spread": [min(times), max(times)],
            "memory": memory[name],
            "ratio": statistics.median(times) / statistics.median(seconds["cam"]),
        }
        for name, times in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", action="append", help="height x width, e.g. 375x500; may be repeated")
    parser.add_argument("--tta", choices=PRESETS, default="full")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = [tuple(map(int, text.split("x"))) for text in options.size or ["375x500"]]
    torch.manual_seed(0)
    device = pick_device("auto")
    weights = find_weights(options.weights)
    network, card = load_network(weights)
    network = network.for_maps(device, pick_amp("auto", device))
    rule = weight_rule(DEFAULTS, card) if network.reclassifier is not None else "first"
    methods: dict[str, MapMethod] = {
        "cam": LinearMaps("first"),
        "recam": LinearMaps(rule),
        "cpmc": Cpmc(CpmcSettings(), rule),
        "cpmc, both kinds of local prototypes": Cpmc(CpmcSettings(complete=1.0, suppress=0.5), rule),
    }
    results = {}
    edges = EdgeNetwork(load_network(weights)[0].backbone)
    affinity = Path(tempfile.mkdtemp()) / "affinity.safetensors"
    hashed = backbone_hash(edges.backbone)
    edge_card = Card(classes=("cat",), method="affinity", backbone_sha256=hashed, **card.network)
    save_network(affinity, edges, edge_card, torch.float32)
    print("| photo | method | time, cam = 1 | seconds (min to max) | peak memory, MiB |")
    print("|---|---|---|---|---|")
    for h, w in sizes:
        calls = {name: making(network, method, (h, w), options.tta) for name, method in methods.items()}
        calls |= {f"refine --method {name}": refining(name, affinity, weights, (h, w)) for name in REFINERS}
        results[f"{h}x{w}"] = found = measure(calls, options.repeats)
        for name, one in found.items():
            low, high = one["spread"]
            times = f"{one['seconds']:.2f} ({low:.2f} to {high:.2f})"
            print(f"| {h} × {w} | {name} | {one['ratio']:.2f} | {times} | {one['memory'] / 2**20:.0f} |")
            sys.stdout.flush()
    if options.json:
        document = {
            "target": TARGET,
            "tta": options.tta,
            "device": str(device),
            "torch": torch.__version__,
            "results": results,
        }
        options.json.write_text(json.dumps(document | {"results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
