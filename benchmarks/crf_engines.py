"""What the dense CRF costs: our torch engine, alone and batched, and pydensecrf2, with all labels of the set or few.

    python -m benchmarks.crf_engines --labels 2,3,4,21 --repeats 5
    python -m benchmarks.crf_engines --device cuda

On the CPU one thread and processor time; on an accelerator our engine there, by the clock, beside one thread of the
CPU. Every measurement is a fresh process, the variants take turns, and medians are compared. Without the extra `crf`
our engine on one thread is what the others are compared with. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# This process imports no torch, and benchmarks.recam_step imports none either.
from benchmarks.recam_step import cores, forget_peak, peak, resident, tell

TARGETS = {"cpu": (1.5, ("torch", "cold")), "accelerator": (1 / 20, ("batched",))}
"""The most time that our engine may take of pydensecrf2's on one core, for 2 to 4 labels; which variants must."""

VARIANTS = {
    "torch": "torch",
    "cold": "torch, first photo of its size",
    "batched": "torch, batched",
    "cpu": "torch, one core",
    "pydensecrf": "pydensecrf2",
    "all": "pydensecrf2, all labels",
}


def variants(device: str) -> list[str]:
    """What can be measured here."""
    left_out: set[str] = {"cpu"} if device == "cpu" else set()
    if device != "cpu":  # it is about the CPU's engines, and takes longest
        left_out.add("all")
    if find_spec("pydensecrf") is None:
        left_out |= {"pydensecrf", "all"}
    return [name for name in VARIANTS if name not in left_out]


def base_of(names: Sequence[str]) -> str:
    """What all are compared with: pydensecrf2, else our engine on one core."""
    return next(name for name in ("pydensecrf", "cpu", "torch") if name in names)


def photos(options: argparse.Namespace) -> list[Any]:
    """The first photos of a folder, uint8 RGB, scaled to one size."""
    import cv2

    files = sorted(one for one in options.photos.rglob("*") if one.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        sys.exit(f"no photos in {options.photos}")
    width, height = options.size
    read = (cv2.imread(str(file)) for file in files[: options.count])
    return [
        cv2.cvtColor(cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB) for one in read
    ]


def energies_of(labels: int, among: int, size: tuple[int, int], seed: int) -> Any:
    """Energies of a map of `labels` blobs, the CRF having `among` labels: (among, height, width) float32."""
    import cv2
    import numpy as np

    from pseudomask.refining.crf import energies

    width, height = size
    noise = np.random.default_rng(seed).random((height, width, labels)).astype(np.float32)
    chosen = np.stack([cv2.GaussianBlur(noise[..., i], (0, 0), 15) for i in range(labels)]).argmax(0)
    return energies((chosen == np.arange(among)[:, None, None]).astype(np.float32), 0.7)


def engine(variant: str, device: str = "cpu") -> Callable[..., Any]:
    """(photos, energies, kernels, iterations) → marginals of each."""
    from pseudomask.refining import crf_engines

    def run(photos: Sequence[Any], unaries: Sequence[Any], *settings: Any) -> list[Any]:
        if variant in ("pydensecrf", "all"):
            pairs = zip(photos, unaries, strict=True)
            return [crf_engines.pydensecrf_marginals(*pair, *settings) for pair in pairs]
        if variant == "cold":
            crf_engines._position_kernel.cache_clear()
        return crf_engines.batch_marginals(photos, unaries, *settings, "cpu" if variant == "cpu" else device)

    return run


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One variant at one number of labels in this process: seconds a photo (mean), and peak memory."""
    import torch

    from pseudomask.refining.crf import PRESETS

    torch.set_num_threads(1)
    labels = options.labels[0]
    among = max(labels, options.all_labels) if options.variant == "all" else labels
    there = options.device != "cpu" and options.variant in ("torch", "cold", "batched")
    together = options.batch if options.variant == "batched" else 1
    some = photos(options)
    count = max(len(some), together) if there or together > 1 else len(some)
    work = [(some[i % len(some)], energies_of(labels, among, options.size, i)) for i in range(count)]
    batches = [tuple(zip(*work[i : i + together], strict=True)) for i in range(0, count, together)]
    run, kernels = engine(options.variant, options.device), PRESETS[options.preset]
    if options.variant in ("torch", "batched", "cpu") or there:
        # The position kernel of this size is then known, as after a folder's first photo; a GPU's programs are loaded.
        run(*batches[0], kernels, 1)
    else:
        run([work[0][0][:32, :32]], [work[0][1][:, :32, :32]], kernels, 1)
    before = resident()
    forget_peak()
    if there and options.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(options.device)
    clock = (
        time.perf_counter if there else time.process_time
    )  # marginals come back to the CPU: no need to wait for more
    started = clock()
    for batch in batches:
        run(*batch, kernels, options.iterations)
    seconds = (clock() - started) / count
    if there and options.device.startswith("cuda"):
        return {"seconds": seconds, "memory": torch.cuda.max_memory_allocated(options.device)}
    return {"seconds": seconds, "memory": peak() - before}


def parity(options: argparse.Namespace) -> dict[str, float]:
    """How far our marginals, batched and where they are to be computed, are from those of what all is compared with."""
    import torch

    from pseudomask.refining.crf import PRESETS

    torch.set_num_threads(1)
    kernels, labels = PRESETS[options.preset], options.labels[0]
    some = photos(options)
    unaries = [energies_of(labels, labels, options.size, i) for i in range(len(some))]
    base = base_of(variants(options.device))
    found = [engine(one, options.device)(some, unaries, kernels, options.iterations) for one in ("batched", base)]
    pairs = list(zip(*found, strict=True))
    return {
        "equal": min(float((ours.argmax(0) == theirs.argmax(0)).mean()) for ours, theirs in pairs),
        "apart": max(float(abs(ours - theirs).mean()) for ours, theirs in pairs),
    }


def in_fresh_process(options: argparse.Namespace, variant: str, labels: int) -> dict[str, Any]:
    """`measure` or `parity` in a new Python that has one thread."""
    command = [sys.executable, "-m", "benchmarks.crf_engines", "--variant", variant, "--labels", str(labels)]
    command += ["--size", "x".join(map(str, options.size)), "--photos", str(options.photos.resolve())]
    for name in ("count", "iterations", "preset", "all_labels", "device", "batch"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    root = Path(__file__).resolve().parents[1]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=one_thread, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{variant} with {labels} labels failed with code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All variants in turn, `repeats` times; the document that --json writes."""
    rows, names = [], variants(options.device)
    base = base_of(names)
    for labels in options.labels:
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for turn in range(options.repeats):
            for name in names:
                runs[name].append(in_fresh_process(options, name, labels))
                print(f"{labels} labels, {turn + 1}/{options.repeats} {VARIANTS[name]}", file=sys.stderr)
        found = {name: summary(some) for name, some in runs.items()}
        ratios = {
            name: {what: one[what] / found[base][what] for what in ("seconds", "memory")} for name, one in found.items()
        }
        rows.append(
            {"labels": labels, "engines": found, "ratios": ratios} | in_fresh_process(options, "parity", labels)
        )
    target, must = TARGETS["cpu" if options.device == "cpu" else "accelerator"]
    few = [row["ratios"][name]["seconds"] for row in rows if row["labels"] <= 4 for name in must]
    settings = ("size", "count", "iterations", "preset", "all_labels", "device", "batch", "repeats")
    return {
        "schema": 1,
        "settings": {name: getattr(options, name) for name in settings} | {"cores": cores(), "threads": 1},
        "base": base,
        "rows": rows,
        "target": {"seconds": target, "met": max(few) <= target if few else None},
    }


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and all values beside them."""
    every = {what: [one[what] for one in found] for what in ("seconds", "memory")}
    return {what: statistics.median(some) for what, some in every.items()} | {
        f"all_{what}": some for what, some in every.items()
    }


def table(result: dict[str, Any]) -> list[str]:
    """Markdown rows for people."""
    settings = result["settings"] | {"size": "x".join(map(str, result["settings"]["size"]))}
    base, target = VARIANTS[result["base"]], result["target"]["seconds"]
    lines = [
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items()),
        "",
        f"| labels | engine | seconds a photo | (least to most) | × {base} | peak memory | × {base} |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        for name, one in row["engines"].items():
            title, ratio = VARIANTS[name], row["ratios"][name]
            lines.append(
                f"| {row['labels']} | {title} | {one['seconds']:.4f} "
                f"| {min(one['all_seconds']):.4f} to {max(one['all_seconds']):.4f} | {ratio['seconds']:.3f} "
                f"| {one['memory'] / 2**20:.0f} MiB | {ratio['memory']:.2f} |"
            )
    lines += ["", "| labels | pixels of equal label | mean difference of marginals |", "| ---: | ---: | ---: |"]
    lines += [f"| {row['labels']} | {100 * row['equal']:.3f} % | {row['apart']:.1e} |" for row in result["rows"]]
    met = {True: "met", False: "missed", None: "not measured"}[result["target"]["met"]]
    return [*lines, "", f"target: ours takes at most {target:g} × the time of {base} with 2 to 4 labels: {met}"]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crf_engines", description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, default=Path(__file__).resolve().parents[1] / "examples" / "photos")
    parser.add_argument("--count", type=int, default=4, help="photos taken from there")
    parser.add_argument("--size", type=_size, default=(500, 375), help="width x height that they are scaled to")
    parser.add_argument("--labels", type=_numbers, default=[2, 3, 4, 21], help="labels present, background among them")
    parser.add_argument("--all-labels", type=int, default=21, help="labels of the set, for the last variant")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--preset", choices=["irn", "deeplab"], default="irn")
    parser.add_argument("--device", default="cpu", help="where our engine runs: cpu, cuda, cuda:1 or mps")
    parser.add_argument("--batch", type=int, default=0, help="photos together, batched; by default 4, on a GPU 16")
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes for each variant")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    parser.add_argument("--variant", choices=[*VARIANTS, "parity"], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.batch = options.batch or (4 if options.device == "cpu" else 16)
    if min(options.labels) < 2:
        parser.error("--labels must each be at least 2")
    if min(options.repeats, options.count) < 1:
        parser.error("--repeats and --count must be at least 1")
    return options


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    width, height = (int(side) for side in text.split("x"))
    return width, height


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    tell(options, parity if options.variant == "parity" else measure, compare, table)


if __name__ == "__main__":
    main()
