"""What each kind of region teaches: `calibrate` with and without false negatives and false positives.

    python -m benchmarks.calibrate_ablation DATA OUT [--photos 400] [--seeds 0 1] [--json FILE]

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`). New heads of the bundled classifier are trained on evenly
spread photos of train_aug, once for each row and seed, by what the bundled boundary head and the CRF make of seeds
without heads, and `extract --method cpmc --tta fast --refine none` makes seeds of every n-th photo of train and val
with them, tags given, cut at the default threshold of 0.5, which no mask of these photos chose. The row `no heads` is
the same without `calibrate`. The confident labels are made once and copied into each RUN. A row with N, P at test
also takes local prototypes of these regions (`--cpmc-kappa`, `--cpmc-lambda`). What OUT has is not made again, and
rows that are in FILE are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.quality import measured, photos
from pseudomask.networks.checkpoint import read_card
from pseudomask.networks.edge_weights import bundled_head
from pseudomask.networks.store import find_weights


class Row(NamedTuple):
    """Weights of false negatives and false positives in training, and of their local prototypes at test."""

    name: str
    missing: float = 0.0
    noise: float = 0.0
    kappa: float = 0.0
    lamda: float = 0.0
    trained: bool = True


ROWS = (
    Row("no heads", trained=False),
    Row("anchors alone"),
    Row("+ false negatives", missing=1.0),
    Row("+ false positives", noise=1.0),
    Row("+ both", missing=1.0, noise=1.0),
    Row("+ both, N at test", missing=1.0, noise=1.0, kappa=1.0),
    Row("+ both, P at test", missing=1.0, noise=1.0, lamda=0.3),
)


def call(*words: object) -> None:
    command = [sys.executable, "-m", "pseudomask", *map(str, words), "--quiet"]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        sys.exit(f"failed: {' '.join(command)}")


def heads(row: Row, seed: int, options: argparse.Namespace) -> Path:
    """The weights of one training, made unless they are there."""
    data, out = options.data, options.out
    run = out / f"fn{row.missing:g}-fp{row.noise:g}-{seed}"
    first = out / f"fn{ROWS[1].missing:g}-fp{ROWS[1].noise:g}-{options.seeds[0]}"
    if not (run / "weights.safetensors").exists():
        every = (data / "ImageSets" / "train_aug.txt").read_text("utf-8").split()
        listed = out / "photos.txt"
        step = max(1, len(every) // options.photos)
        listed.write_text("\n".join(every[::step][: options.photos]) + "\n", "utf-8")
        shared = ("--labels", data / "labels.csv", "--class-file", data / "classes.txt", "--list", listed)
        shared += ("--weights", options.weights)
        if run != first:
            shutil.copytree(first / "confident", run / "confident", dirs_exist_ok=True)
        seeds = ("--method", "cpmc", "--cpmc-features", "hierarchical", "--cam", "lpcam", "--refine", "none")
        call("extract", data / "JPEGImages", out / "seeds", *shared, *seeds)
        teacher = bundled_head(options.weights)
        call(
            *("calibrate", data / "JPEGImages", run, *shared, "--val-fraction", 0, "--seed", seed),
            *("--seeds", out / "seeds", "--teacher", "none" if teacher is None else teacher),
            *("--fn-weight", row.missing, "--fp-weight", row.noise),
        )
    return run / "weights.safetensors"


def measure(row: Row, seed: int, options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    weights = heads(row, seed, options) if row.trained else options.weights
    found: dict[str, Any] = {"row": row.name, "seed": seed, "photos": options.photos, "every": options.every}
    for split in ("train", "val"):
        keys = photos(options.data, split, options.every)
        listed, made = options.out / f"{split}.txt", options.out / f"masks-{split}"
        listed.write_text("\n".join(keys) + "\n", "utf-8")
        shutil.rmtree(made, ignore_errors=True)
        call(
            *("extract", options.data / "JPEGImages", made, "--labels", options.data / "labels.csv"),
            *("--class-file", options.data / "classes.txt", "--list", listed, "--weights", weights),
            *("--method", "cpmc", "--cam", options.cam, "--tta", "fast", "--refine", "none", "--threshold", 0.5),
            *("--cpmc-kappa", row.kappa, "--cpmc-lambda", row.lamda),
            *(() if row.trained else ("--cpmc-features", "hierarchical")),
        )
        found[split] = measured(options.data, keys, made, names) | {"photos": len(keys)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, help="the classifier; default: the bundled weights")
    parser.add_argument("--photos", type=int, default=400, help="to train on")
    parser.add_argument("--every", type=int, default=4, help="measure every n-th photo of train and of val")
    parser.add_argument("--cam", default="plain", help="the kind of map at test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.weights = find_weights(options.weights)
    options.out.mkdir(parents=True, exist_ok=True)
    names = ("background", *read_card(options.weights).classes)
    done: list[dict[str, Any]] = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    for row in ROWS:
        for seed in options.seeds if row.trained else options.seeds[:1]:
            if not any((one["row"], one["seed"]) == (row.name, seed) for one in done):
                done.append(measure(row, seed, options, names))
                print(json.dumps(done[-1]), flush=True)
                if options.json:
                    options.json.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
    print("| regions | train | val | person (train, val) |\n|---|---|---|---|")
    for row in ROWS:
        rows = [one for one in done if one["row"] == row.name]
        cells = [_spread([one[split]["miou"] for one in rows]) for split in ("train", "val")]
        person = ", ".join(f"{mean(one[split]['person'] for one in rows):.1f}" for split in ("train", "val"))
        print(f"| {' | '.join([row.name, *cells, person])} |")


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"


if __name__ == "__main__":
    main()
