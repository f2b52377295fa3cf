"""What a photo costs by method: time and memory of the maps of cam, recam and cpmc, side by side.

    python -m benchmarks.methods_time [--size 375x500 --size 1500x2000] [--weights FILE] [--repeats N] [--json FILE]

Random photos of the given height x width, seen as `extract` sees them (four sizes and mirrored, two classes
present, the default precision), one at a time, without reduction. Methods take turns, medians are compared with
cam's. Memory is the peak of one call minus what was held before it (Linux; elsewhere the process's peak).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.recam_step import forget_peak, peak, resident
from benchmarks.seeds import DEFAULTS
from pseudomask.devices import pick_amp, pick_device
from pseudomask.maps import weight_rule
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.maps.passes import PRESETS
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights

TARGET = 1.5
"""The most that cpmc may take of cam's time."""


def views(size: tuple[int, int]) -> list[Tensor]:
    """One smooth random photo at every default scale: uint8 (1, h, w, 3) each."""
    coarse = torch.rand(1, 3, *(max(1, side // 16) for side in size))
    found = []
    for scale in PRESETS["full"].scales:
        shape = [round(side * scale) for side in size]
        found.append((F.interpolate(coarse, shape, mode="bicubic").clamp(0, 1) * 255).byte().permute(0, 2, 3, 1))
    return found


def measure(network: CamNetwork, methods: dict[str, MapMethod], size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Median seconds (after one call that does not count) and peak bytes of each method at one size."""
    device = next(network.parameters()).device
    photo = [view.to(device) for view in views(size)]
    index, valid = torch.tensor([[0, 1]], device=device), torch.ones(1, 2, dtype=torch.bool, device=device)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    memory: dict[str, int] = {}
    for turn in range(repeats + 1):
        for name, method in methods.items():
            before = resident()
            forget_peak()
            started = time.perf_counter()
            multiscale_maps(
                network, method, photo, index, valid,
                grid=(-(-size[0] // 4), -(-size[1] // 4)), amp=pick_amp("auto", device),
            ).cpu()  # fmt: skip
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
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = [tuple(map(int, text.split("x"))) for text in options.size or ["375x500"]]
    torch.manual_seed(0)
    device = pick_device("auto")
    network, card = load_network(find_weights(options.weights))
    network = network.for_maps(device, pick_amp("auto", device))
    rule = weight_rule(DEFAULTS, card) if network.reclassifier is not None else "first"
    methods: dict[str, MapMethod] = {
        "cam": LinearMaps("first"),
        "recam": LinearMaps(rule),
        "cpmc": Cpmc(CpmcSettings(), rule),
        "cpmc, both kinds of local prototypes": Cpmc(CpmcSettings(complete=1.0, suppress=0.5), rule),
    }
    results = {}
    print("| photo | method | time, cam = 1 | seconds (min to max) | peak memory, MiB |")
    print("|---|---|---|---|---|")
    for h, w in sizes:
        results[f"{h}x{w}"] = found = measure(network, methods, (h, w), options.repeats)
        for name, one in found.items():
            low, high = one["spread"]
            times = f"{one['seconds']:.2f} ({low:.2f} to {high:.2f})"
            print(f"| {h} × {w} | {name} | {one['ratio']:.2f} | {times} | {one['memory'] / 2**20:.0f} |")
            sys.stdout.flush()
    if options.json:
        document = {"target": TARGET, "device": str(device), "torch": torch.__version__, "results": results}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
