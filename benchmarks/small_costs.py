"""Small costs that users notice: start-up, evaluating one threshold against a hundred, bytes stored a photo.

    python -m benchmarks.small_costs [--photos 24] [--repeats 5] [--json FILE]

Photos are those of examples/photos, over and over; their own masks serve as truth, since only time is measured.
Start-up is a fresh process for `pseudomask --help`, beside one that imports torch and does nothing.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.recam_step import publish
from pseudomask.api import evaluate, extract
from pseudomask.config import EvaluateConfig, ExtractConfig

ROOT = Path(__file__).resolve().parents[1]


def medians(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Each piece of work in turn, `repeats` times after one that does not count: median, least and most seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, one in work.items():
            started = time.perf_counter()
            one()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {
        name: {"seconds": statistics.median(found), "least": min(found), "most": max(found)}
        for name, found in seconds.items()
    }


def process(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def seeds(room: Path, count: int) -> Path:
    """`count` photos, extracted at one size: masks and scores."""
    photos = sorted(path for path in (ROOT / "examples/photos").iterdir() if path.suffix == ".jpg")
    (room / "photos").mkdir()
    for i in range(count):
        source = photos[i % len(photos)]
        shutil.copy(source, room / "photos" / f"{i:04d}{source.suffix}")
    extract(
        ExtractConfig(
            images=room / "photos", out=room / "out", scales="1.0", flip=False, method="recam", refine=("none",)
        )
    )
    return room / "out"


def measure(options: argparse.Namespace, room: Path) -> dict[str, Any]:
    out = seeds(room, options.photos)
    truth = room / "truth"
    truth.mkdir()
    for path in out.glob("*.png"):
        shutil.copy(path, truth)
    common: dict[str, Any] = {"pred": out, "gt": truth}
    stored = [path.stat().st_size for path in (out / "scores").glob("*.npz")]
    masks = [path.stat().st_size for path in out.glob("*.png")]
    return {
        "photos": options.photos,
        "times": medians(
            {
                "pseudomask --help": process("-m", "pseudomask", "--help"),
                "import torch": process("-c", "import torch"),
                "evaluate": lambda: evaluate(EvaluateConfig(**common)),
                "evaluate --sweep (100 thresholds)": lambda: evaluate(EvaluateConfig(**common, sweep=True)),
            },
            options.repeats,
        ),
        "bytes": {"scores": statistics.mean(stored), "mask": statistics.mean(masks)},
    }


def table(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['photos']} photos", "", "| | seconds (least to most) |", "|---|---:|"]
    for name, one in found["times"].items():
        lines.append(f"| {name} | {one['seconds']:.2f} ({one['least']:.2f} to {one['most']:.2f}) |")
    return [*lines, "", *(f"bytes a photo, {name}: {size:,.0f}" for name, size in found["bytes"].items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pseudomask-costs-") as room:
        found = measure(options, Path(room))
    publish(table(found), found, options.json)


if __name__ == "__main__":
    main()
