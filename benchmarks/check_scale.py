"""Time and memory of `pseudomask check` on many small synthetic photos, apart from reading them.

    python -m benchmarks.check_scale --photos 100000 --classes 80

Writes the photos (JPEG, 64 pixels, smooth colours, one in a hundred a re-encoded copy of another) and a CSV file of
tags to a temporary folder, and checks them. *Reading* is opening and decoding the photos; *the rest* is the list of
files, tags, verdicts and the search for duplicates. Memory is the peak of the process above what it had before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pseudomask.checking import check as module
from pseudomask.config import CheckConfig
from pseudomask.running.record import peak_memory


def write(folder: Path, photos: int, classes: int) -> Path:
    """Photos `folder/images/NNNNNN.jpg` and their tags; returns the tags' file."""
    rng = np.random.default_rng(0)
    rows = ["filename,labels"]
    for i in range(photos):
        name = folder / "images" / f"{i // 1000:03d}" / f"{i:06d}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        if i % 100 == 99:
            shown = Image.open(folder / "images" / f"{(i - 50) // 1000:03d}" / f"{i - 50:06d}.jpg")
        else:
            shown = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            shown = shown.resize((64, 64), Image.Resampling.BILINEAR)
        shown.save(name, quality=75 if i % 100 == 99 else 90)
        tags = np.flatnonzero(rng.random(classes) < 0.04)
        rows.append(f"{i // 1000:03d}/{i:06d}.jpg,{';'.join(f'class {c}' for c in tags)}")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=80)
    options = parser.parse_args()
    look, reading = module.look, list[float]()

    def timed(*args: Any, **more: Any) -> Any:
        started = time.perf_counter()
        seen = look(*args, **more)
        reading.append(time.perf_counter() - started)
        return seen

    module.look = timed
    with tempfile.TemporaryDirectory() as place:
        labels = write(Path(place), options.photos, options.classes)
        for decode in (False, True):
            before, started = peak_memory(), time.perf_counter()
            result = module.check(CheckConfig(images=Path(place) / "images", labels=labels, decode=decode))
            seconds = time.perf_counter() - started
            memory = (peak_memory() - before) / 2**20
            found = "" if result.twins is None else f", {len(result.twins)} groups of duplicates"
            print(
                f"{'decoded' if decode else 'headers'}: reading {reading[-1]:.1f} s, the rest "
                f"{seconds - reading[-1]:.1f} s, {memory:.0f} MiB{found}"
            )


if __name__ == "__main__":
    main()
