"""Hours of synthetic photos through `extract` and `refine`, disturbed on purpose: what is lost, and does memory grow?

    python -m benchmarks.soak --minutes 60

Each round draws photos, some of them damaged, starts `extract` as a process, disturbs it (a kill, a signal, a limited
file size, half a manifest line), finishes it and refines in this process, whose memory is watched, and compares what
lies there with what must. Exit code 1 where anything failed or memory grew by more than TARGET.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pseudomask.config import ExtractConfig, RefineConfig
from pseudomask.errors import PseudomaskError
from pseudomask.extracting.extract import extract
from pseudomask.masks import load_mask
from pseudomask.refining.refine import refine
from pseudomask.scores import load_scores

TARGET = 1.0
"""MB that memory may grow by over 1,000 photos."""
FAULTS = ("none", "kill", "SIGINT", "SIGTERM", "file size", "cut manifest")
WARM_UP = 0.2  # share of the rounds whose memory does not count: libraries still fill their pools


@dataclass
class Tally:
    """What happened so far; `memory` is (photos done, resident bytes) after each round."""

    rounds: int = 0
    photos: int = 0
    masks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)


def draw(folder: Path, count: int, dice: random.Random) -> dict[str, tuple[int, int]]:
    """Write photos, one in ten cut off; returns (H, W) by key of the sound ones."""
    folder.mkdir()
    rng = np.random.default_rng(dice.randrange(2**32))
    sound = {}
    for i in range(count):
        h, w = dice.choice(((96, 128), (128, 96), (160, 160), (80, 240)))
        pixels = rng.integers(80, 150, (h, w, 3), dtype=np.uint8)
        top, left = dice.randrange(h // 2), dice.randrange(w // 2)
        pixels[top : top + h // 3, left : left + w // 3] = rng.integers(0, 256, 3, dtype=np.uint8)
        path = folder / f"p{i:03d}.{dice.choice(('jpg', 'png'))}"
        Image.fromarray(pixels).save(path)
        if dice.random() < 0.1:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        else:
            sound[path.stem] = (h, w)
    return sound


def disturb(fault: str, photos: Path, out: Path, weights: Path | None, dice: random.Random) -> int:
    """`extract` as a process, disturbed at a random moment of its work; returns its exit code."""
    command = [sys.executable, "-m", "pseudomask", "extract", "--method", "cam", "--scales", "1.0"]
    command += ["--refine", "none"]
    command += ["--device", "cpu", "--amp", "off", "--workers", "1", *(["--weights", str(weights)] if weights else [])]

    def limit() -> None:
        if fault == "file size":
            resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    nowhere = subprocess.DEVNULL
    with subprocess.Popen(
        [*command, str(photos), str(out)], stdout=nowhere, stderr=nowhere, preexec_fn=limit
    ) as running:
        target = dice.randrange(1, 8)
        while running.poll() is None and len(list(out.glob("*.png"))) < target:
            time.sleep(0.01)
        if fault in ("kill", "SIGINT", "SIGTERM"):
            running.send_signal({"kill": signal.SIGKILL}.get(fault) or signal.Signals[fault])
        code = running.wait()
    if fault == "cut manifest" and (out / "manifest.jsonl").exists():
        data = (out / "manifest.jsonl").read_bytes()
        (out / "manifest.jsonl").write_bytes(data[:-7])
    return code


def look(folder: Path, sound: dict[str, tuple[int, int]], *, scores: bool) -> list[str]:
    """What is missing, half there or left over."""
    wrong = []
    for key, size in sound.items():
        try:
            if load_mask(folder / f"{key}.png").shape != size:
                wrong.append(f"{folder.name}/{key}: another size")
            if scores and load_scores(folder / "scores" / f"{key}.npz").size != size:
                wrong.append(f"{folder.name}/{key}: scores of another size")
        except PseudomaskError as error:
            wrong.append(str(error))
    extra = {path.stem for path in folder.glob("*.png")} - sound.keys()
    return wrong + [f"{folder.name}/{name}: left over" for name in (*extra, *map(str, folder.rglob(".pseudomask-*")))]


def one_round(place: Path, count: int, weights: Path | None, dice: random.Random, tally: Tally) -> None:
    photos, masks, refined = place / "photos", place / "masks", place / "refined"
    sound, fault = draw(photos, count, dice), dice.choice(FAULTS)
    tally.faults[fault] += 1
    try:
        if fault != "none":
            code = disturb(fault, photos, masks, weights, dice)
            if code not in (0, 1, 130, 143, -signal.SIGKILL):
                tally.failures.append(f"round {tally.rounds}: exit code {code} after {fault}")
        settings: dict[str, Any] = {"images": photos, "out": masks, "weights": weights, "method": "cam"}
        made = extract(ExtractConfig(**settings, method="cam", scales="1.0", device="cpu", amp="off", workers=0))
        better = refine(
            RefineConfig(images=photos, seeds=masks, out=refined, method=("pamr",), device="cpu", workers=0)
        )
        wrong = look(masks, sound, scores=True) + look(refined, sound, scores=False)
        if (made.done, made.failed) != (len(sound), count - len(sound)):
            wrong.append(f"{made.done} done and {made.failed} failed of {len(sound)} and {count - len(sound)}")
        tally.failures += [f"round {tally.rounds}, {fault}: {one}" for one in wrong]
        tally.masks += made.done + better.done
    except Exception as error:
        tally.failures.append(f"round {tally.rounds}, {fault}: {type(error).__name__}: {error}")
    tally.rounds, tally.photos = tally.rounds + 1, tally.photos + count
    gc.collect()
    tally.memory.append((tally.photos, resident()))


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(memory: list[tuple[int, int]]) -> float | None:
    """MB for each 1,000 photos, by least squares over the rounds after the first ones; None where these are too few."""
    late = np.array(memory[int(len(memory) * WARM_UP) :], np.float64)
    if len(late) < 4:
        return None
    return float(np.polyfit(late[:, 0] / 1000, late[:, 1] / 2**20, 1)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="no round begins after so long")
    parser.add_argument("--photos", type=int, default=24, help="drawn in each round")
    parser.add_argument("--weights", type=Path, help="by default those that come with pseudomask")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write what is printed there")
    given = parser.parse_args()
    dice, tally, started = random.Random(given.seed), Tally(), time.monotonic()
    while time.monotonic() - started < 60 * given.minutes:
        with tempfile.TemporaryDirectory(prefix="pseudomask-soak-") as place:
            one_round(Path(place), given.photos, given.weights, dice, tally)
    grown = slope(tally.memory)
    report = {
        "minutes": round((time.monotonic() - started) / 60, 1),
        "rounds": tally.rounds,
        "photos": tally.photos,
        "masks": tally.masks,
        "faults": dict(sorted(tally.faults.items())),
        "failures": tally.failures,
        "memory_mb": [round(size / 2**20, 1) for _, size in (tally.memory[:1] + tally.memory[-1:])],
        "growth_mb_per_1000_photos": None if grown is None else round(grown, 3),
        "target_mb_per_1000_photos": TARGET,
        "python": platform.python_version(),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", "utf-8")
    return int(bool(tally.failures) or (grown is not None and grown > TARGET))


if __name__ == "__main__":
    sys.exit(main())
