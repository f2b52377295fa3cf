"""What `refine --batch-size` brings on a processor: photos of equal size together against each alone, in one run.

    python -m benchmarks.refine_batches IMAGES SEEDS [--methods crf,pamr] [--batch-sizes 1,4,8] [--json FILE]

SEEDS is what `extract` wrote for photos of IMAGES, its manifest included: that tells which photos are of one size.
Each run is the command as users type it, start-up included, into a folder of its own. The sizes take turns, so that
each turn has ratios: of the time on the clock, and of the processor time of all workers, which a busy machine changes
less. All are compared with the first size of the list.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.recam_step import cores, publish
from benchmarks.refine_folder import equal_pixels, refine


def measure(options: argparse.Namespace, method: str, size: int, out: Path) -> dict[str, float]:
    """Seconds on the clock and of the processor of one `refine`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clock = refine(options, ["--method", method, "--batch-size", str(size)], out)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"clock": clock, "processor": sum(after[:2]) - sum(before[:2])}  # [:2]: user, system


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All sizes in turn, `repeats` times, for each method; the document that --json writes."""
    rows, sizes = [], options.batch_sizes
    for method in options.methods:
        runs: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
        with tempfile.TemporaryDirectory() as folder:
            places = {size: Path(folder, str(size)) for size in sizes}
            for turn in range(options.repeats):
                for size in sizes[:: 1 if turn % 2 == 0 else -1]:
                    out = places[size] if turn == 0 else Path(folder, f"{size}_{turn}")
                    runs[size].append(measure(options, method, size, out))
                    clock = runs[size][-1]["clock"]
                    print(f"{method} {turn + 1}/{options.repeats}, {size} together: {clock:.1f} s", file=sys.stderr)
            equal = {size: equal_pixels(places[size], places[sizes[0]]) for size in sizes}
        for size in sizes:
            pairs = list(zip(runs[size], runs[sizes[0]], strict=True))
            ratios = {what: [one[what] / base[what] for one, base in pairs] for what in ("clock", "processor")}
            row = {"method": method, "batch_size": size, "seconds": runs[size], "ratios": ratios}
            middle = {what: statistics.median(some) for what, some in ratios.items()}
            rows.append(row | {"ratio": middle, "photos": equal[size][0], "equal": equal[size][1]})
    settings = {name: getattr(options, name) for name in ("workers", "repeats", "limit")}
    settings |= {"cores": cores(), "most_of_one_size": options.most_alike}
    return {"schema": 1, "settings": settings, "rows": rows}


def table(result: dict[str, Any]) -> list[str]:
    """Markdown rows for people."""
    lines = [
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in result["settings"].items()),
        "",
        "| refiner | together | time | (least to most) | processor time | (least to most) | equal pixels |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        cells = [row["method"], str(row["batch_size"])]
        for what in ("clock", "processor"):
            some = row["ratios"][what]
            cells += [f"× {row['ratio'][what]:.2f}", f"{min(some):.2f} to {max(some):.2f}"]
        lines.append(f"| {' | '.join(cells)} | {100 * row['equal']:.3f} % |")
    return lines


def most_alike(seeds: Path) -> int:
    """How many photos of the most frequent size the manifest tells of; 0 without one."""
    from pseudomask.running.layout import MANIFEST
    from pseudomask.running.manifest import Manifest

    sizes = [tuple(entry["size"]) for entry in Manifest(seeds / MANIFEST).load().values() if entry.get("size")]
    return max(Counter(sizes).values(), default=0)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refine_batches", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("seeds", type=Path)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=["crf", "pamr"])
    parser.add_argument("--batch-sizes", type=lambda text: [int(one) for one in text.split(",")], default=[1, 4, 8])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="turns of all sizes")
    parser.add_argument("--limit", type=int, help="only the first N photos (a trial)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    options = parser.parse_args(arguments)
    if options.repeats < 1 or len(set(options.batch_sizes)) < len(options.batch_sizes):
        parser.error("--repeats must be at least 1, and each of --batch-sizes another")
    options.most_alike = most_alike(options.seeds)
    if options.most_alike < 2:
        parser.error(f"{options.seeds}: no manifest that tells of photos of equal size; all would go alone")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    result = compare(options)
    publish(table(result), result, options.json)


if __name__ == "__main__":
    main()
