"""The wall time of `refine --method crf` over a whole folder: our engine against pydensecrf2.

    python -m benchmarks.refine_folder IMAGES SEEDS [--workers 2] [--repeats 3] [--limit N] [--json FILE]

SEEDS is what `extract` wrote for photos of IMAGES. Each run is the command as users type it, start-up included, into a
folder of its own; the engines take turns, so that each turn has a ratio. Needs the extra `crf`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.recam_step import cores, publish

ENGINES = ("torch", "pydensecrf")
TARGET = 1.0
"""Our engine is to be no slower."""


def refine(options: argparse.Namespace, flags: Sequence[str], out: Path) -> float:
    """Seconds on the clock of one `refine` with these flags, on the CPU."""
    command = [sys.executable, "-m", "pseudomask", "refine", str(options.images), str(options.seeds), str(out)]
    command += [*flags, "--device", "cpu", "--workers", str(options.workers), "--quiet"]
    command += ["--limit", str(options.limit)] if options.limit else []
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"refine {' '.join(flags)} failed with code {done.returncode}")
    return seconds


def equal_pixels(one: Path, other: Path) -> tuple[int, float]:
    """How many masks the two folders share, and the share of their pixels that is equal."""
    from pseudomask.masks import load_mask

    same, pixels, files = 0, 0, sorted(one.rglob("*.png"))
    for file in files:
        ours, theirs = load_mask(file), load_mask(other / file.relative_to(one))
        same, pixels = same + int((ours == theirs).sum()), pixels + ours.size
    return len(files), same / pixels


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Both engines in turn, `repeats` times; the document that --json writes."""
    seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.repeats):
            # Each engine goes first in every other turn.
            for engine in ENGINES[:: 1 if turn % 2 == 0 else -1]:
                seconds[engine].append(
                    refine(options, ["--method", "crf", "--engine", engine], Path(folder, f"{engine}{turn}"))
                )
                print(f"{turn + 1}/{options.repeats} {engine}: {seconds[engine][-1]:.1f} s", file=sys.stderr)
        photos, equal = equal_pixels(*(Path(folder, f"{engine}0") for engine in ENGINES))
    ratios = [ours / theirs for ours, theirs in zip(*(seconds[engine] for engine in ENGINES), strict=True)]
    ratio = statistics.median(ratios)
    return {
        "schema": 1,
        "settings": {"photos": photos, "workers": options.workers, "repeats": options.repeats, "cores": cores()},
        "seconds": seconds,
        "ratios": ratios,
        "ratio": ratio,
        "equal": equal,
        "target": {"ratio": TARGET, "met": ratio <= TARGET},
    }


def table(result: dict[str, Any]) -> list[str]:
    """Markdown rows for people."""
    lines = [
        ", ".join(f"{name} {value}" for name, value in result["settings"].items()),
        "",
        "| engine | seconds | (least to most) | seconds a photo |",
        "| --- | ---: | ---: | ---: |",
    ]
    for engine, found in result["seconds"].items():
        middle = statistics.median(found)
        spread = f"{min(found):.1f} to {max(found):.1f}"
        lines.append(f"| {engine} | {middle:.1f} | {spread} | {middle / result['settings']['photos']:.3f} |")
    ratios, met = result["ratios"], "met" if result["target"]["met"] else "missed"
    return [
        *lines,
        "",
        f"torch / pydensecrf, turn by turn: {result['ratio']:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"equal pixels of their masks: {100 * result['equal']:.3f} %",
        f"target: at most {TARGET:g}: {met}",
    ]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refine_folder", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("seeds", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="turns of both engines")
    parser.add_argument("--limit", type=int, help="only the first N photos (a trial)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    if find_spec("pydensecrf") is None:
        parser.error("pydensecrf2 is not installed: pip install 'pseudomask[crf]'")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    result = compare(options)
    publish(table(result), result, options.json)


if __name__ == "__main__":
    main()
