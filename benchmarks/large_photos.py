"""Peak memory of the everyday call, its workers included, on photos of 10,000 x 10,000 pixels.

    python -m benchmarks.large_photos [--side 10000] [--photos 10] [--workers 8] [--json FILE]

The photos are one photo of examples/, enlarged. Memory is the proportional set size (PSS) of the process and all its
children, added up twice a second: pages that they share count once. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.recam_step import publish
from pseudomask.running.machine import cores

ROOT = Path(__file__).resolve().parents[1]
PHOTO, TAG = ROOT / "examples/photos/cat_chelsea.jpg", "cat"
AIM = 6 * 1024


def tree(pid: int) -> list[int]:
    """The process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in tree(int(child)))]


def memory(pid: int) -> float:
    """PSS of the tree, in MiB."""
    total = 0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024


def write_photos(folder: Path, side: int, count: int) -> None:
    """`count` names of one large photo, and folder.csv beside it."""
    folder.mkdir()
    with Image.open(PHOTO) as photo:
        photo.convert("RGB").resize((side, side), Image.Resampling.BICUBIC).save(folder / "0.jpg", quality=90)
    for i in range(1, count):
        os.link(folder / "0.jpg", folder / f"{i}.jpg")
    rows = "".join(f"{i}.jpg,{TAG}\n" for i in range(count))
    folder.with_suffix(".csv").write_text(f"filename,labels\n{rows}", encoding="utf-8")


def measure(options: argparse.Namespace, room: Path) -> dict[str, Any]:
    write_photos(room / "photos", options.side, options.photos)
    words = ["extract", room / "photos", room / "out", "--labels", room / "photos.csv", "--overlay", "--device", "cpu"]
    command = [sys.executable, "-m", "pseudomask", *map(str, words), "--workers", str(options.workers)]
    started, peak, most = time.perf_counter(), 0.0, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak, most = max(peak, memory(process.pid)), max(most, len(tree(process.pid)))
            time.sleep(0.5)
    masks = len(list((room / "out").glob("*.png")))
    if process.returncode or masks != options.photos:
        sys.exit(f"{masks} of {options.photos} masks, exit code {process.returncode}")
    facts = {"side": options.side, "photos": options.photos, "workers": options.workers, "cores": cores()}
    return facts | {"processes": most, "peak": round(peak), "seconds": round(time.perf_counter() - started)}


def table(found: dict[str, Any]) -> list[str]:
    side = f"{found['side']:,}"
    return [
        f"| {found['photos']} photos of | workers | processes | peak, MiB | seconds, {found['cores']} cores |",
        "| --- | ---: | ---: | ---: | ---: |",
        f"| {side} x {side} | {found['workers']} | {found['processes']} | {found['peak']:,} | {found['seconds']} |",
        "",
        f"aim: at most {AIM:,} MiB: {'met' if found['peak'] <= AIM else 'missed'}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pseudomask-large-") as room:
        found = measure(options, Path(room))
    publish(table(found), found, options.json)


if __name__ == "__main__":
    main()
