"""The random walk as pseudomask computes it, beside the published one: a dense matrix, squared eight times.

    python -m benchmarks.walk --sizes 47x63,94x125,270x480

Every measurement is a fresh process, the variants take turns, and medians are compared. See README.md
beside this file for how memory is counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.recam_step import available, forget_peak, gib, peak, resident, tell

# This process imports no torch: it would otherwise hold memory that the measured ones need.
if TYPE_CHECKING:
    from torch import Tensor

VARIANTS = {"sparse": "sparse, Chebyshev", "dense": "dense, squared 8 times"}
TARGETS = {"94x125": {"seconds": 0.15}, "270x480": {"memory": 2**30}}
"""What the sparse walk should stay below."""


def dense_walk(scores: Tensor, edges: Tensor) -> Tensor:
    """The walk as IRN's public code has it: (n, h, w), (h, w) → (n, h, w), float32, with hw × hw matrices."""
    import torch

    from pseudomask.refining.paths import affinities, steps

    h, w = edges.shape
    places = torch.arange(h * w).view(h, w)
    matrix = torch.eye(h * w)
    for (y, x), values in zip(steps(5), affinities(edges, 5), strict=True):
        one = (slice(0, h - y), slice(max(0, -x), w - max(0, x)))
        other = (slice(y, h), slice(max(0, x), w + min(0, x)))
        matrix[places[one].flatten(), places[other].flatten()] = values[one].flatten()
        matrix[places[other].flatten(), places[one].flatten()] = values[one].flatten()
    matrix.pow_(10.0)
    matrix /= matrix.sum(0, keepdim=True)
    for _ in range(8):
        matrix = matrix @ matrix
    return ((scores * (1 - edges)).flatten(1) @ matrix).unflatten(1, (h, w))


def scene(h: int, w: int, planes: int) -> tuple[Tensor, Tensor]:
    """Scores that are blobs, and smooth boundaries between 0 and 1."""
    import torch
    from torch.nn import functional as F

    torch.manual_seed(0)
    coarse = torch.randn(1, 1 + planes, h // 6 + 1, w // 6 + 1)
    fine = F.interpolate(coarse, size=(h, w), mode="bicubic")[0]
    return fine[1:].sigmoid() ** 4, torch.sigmoid(6 * fine[0] - 3)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One walk in this process: {seconds, wall, memory, sum} or {skipped}."""
    import torch

    from pseudomask.refining.transitions import random_walk

    if options.threads:
        torch.set_num_threads(options.threads)
    h, w = size_of(options.size)
    torch.set_flush_denormal(True)  # products of many small affinities would make the dense walk slow beyond fairness
    walk = {"sparse": random_walk, "dense": dense_walk}[options.variant]
    free, needed = available(), 3 * 4 * (h * w) ** 2
    if options.variant == "dense" and (h * w > options.dense_pixels or (free is not None and needed > 0.9 * free)):
        return {"skipped": f"needs about {gib(needed)}"}
    with torch.inference_mode():
        walk(*scene(16, 16, options.planes))  # the libraries' code is now in memory and is not counted
        scores, edges = scene(h, w, options.planes)
        before = resident()
        forget_peak()
        started, clock = time.process_time(), time.perf_counter()
        found = walk(scores, edges)
        seconds, wall = time.process_time() - started, time.perf_counter() - clock
    return {"seconds": seconds, "wall": wall, "memory": peak() - before, "sum": float(found.double().sum())}


def in_fresh_process(options: argparse.Namespace, size: str, variant: str) -> dict[str, Any]:
    """`measure` in a new Python."""
    command = [sys.executable, "-m", "benchmarks.walk", "--variant", variant, "--size", size]
    for name in ("planes", "threads", "dense_pixels"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        if variant == "dense":  # most likely killed for its memory
            return {"skipped": f"its process ended with code {done.returncode}"}
        sys.exit(f"the sparse walk failed with code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All sizes and variants in turn, `repeats` times; the document that --json writes."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for turn in range(options.repeats):
        for size in options.sizes.split(","):
            for variant in VARIANTS:
                found = runs.setdefault((size, variant), [])
                if not found or "skipped" not in found[0]:
                    found.append(in_fresh_process(options, size, variant))
                print(f"{turn + 1}/{options.repeats} {size} {VARIANTS[variant]}", file=sys.stderr)
    return {
        "schema": 1,
        "settings": {name: getattr(options, name) for name in ("sizes", "planes", "threads", "repeats")},
        "walks": {size: entry(size, runs[size, "sparse"], runs[size, "dense"]) for size in options.sizes.split(",")},
    }


def entry(size: str, sparse: list[dict[str, Any]], dense: list[dict[str, Any]]) -> dict[str, Any]:
    """One size: medians of both walks, dense ÷ sparse, and whether the targets are met."""
    one, other = summary(sparse), summary(dense)
    found: dict[str, Any] = {"sparse": one, "dense": other}
    if "skipped" not in other:
        # Of a small walk the system sees no new page.
        found["ratios"] = {what: other[what] / max(one[what], 1e-9) for what in ("seconds", "memory")}
        found["difference"] = abs(one["sum"] - other["sum"]) / other["sum"]
    found["targets"] = {
        what: {"below": limit, "met": one[what] < limit} for what, limit in TARGETS.get(size, {}).items()
    }
    return found


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and all values beside them."""
    if "skipped" in found[0]:
        return found[0]
    measured = [one for one in found if "skipped" not in one]
    medians = {what: statistics.median(one[what] for one in measured) for what in ("seconds", "wall", "memory", "sum")}
    return medians | {f"all_{what}": [one[what] for one in measured] for what in ("seconds", "wall", "memory")}


def table(result: dict[str, Any]) -> list[str]:
    """Markdown rows for people."""
    lines = [
        ", ".join(f"{name} {value}" for name, value in result["settings"].items() if name != "sizes"),
        "",
        "| size | walk | processor seconds | peak memory | dense ÷ sparse: seconds | memory |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for size, one in result["walks"].items():
        for variant, title in VARIANTS.items():
            walk = one[variant]
            if "skipped" in walk:
                lines.append(f"| {size} | {title} | skipped: {walk['skipped']} | | | |")
                continue
            ratios = [f"{value:.0f}" for value in one.get("ratios", {}).values()] if variant == "dense" else ["", ""]
            lines.append(f"| {size} | {title} | {walk['seconds']:.3f} | {gib(walk['memory'])} | {' | '.join(ratios)} |")
        for what, target in one["targets"].items():
            lines.append(f"| {size} | {what} below {target['below']} | {'met' if target['met'] else 'missed'} | | | |")
    return lines


def size_of(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walk", description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="47x63,94x125,270x480", help="heights x widths at stride 4")
    parser.add_argument("--planes", type=int, default=2, help="score planes")
    parser.add_argument("--threads", type=int, default=0, help="torch's threads; 0 leaves its own choice")
    parser.add_argument("--dense-pixels", type=int, default=11_750, help="the dense walk is skipped above this many")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes for each variant")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--size", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    tell(parse(arguments), measure, compare, table)


if __name__ == "__main__":
    main()
