"""A small case of the simulation `benchmarks.scale`: a slow file system, a slow process and a killed one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from torchrun import PATIENCE, ROOT, environment

SMALL = ["--photos", "96", "--ranks", "3", "--latency", "1", "--network", "20", "--slow", "10", "--kills", "1"]


def test_nothing_is_lost_or_made_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.scale", str(tmp_path / "place"), *SMALL, "--hard", "--json"]
    done = subprocess.run(
        [*command, str(tmp_path / "found.json")],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    (found,) = json.loads((tmp_path / "found.json").read_text())
    assert found["exit"] == [0, 0, 0]
    assert (found["masks"], found["lost"], found["twice"], found["left_over"]) == (96, 0, 0, 0)
    assert found["by_rank"][2] <= 96 // 3, "the slow one has done no more than an equal share"
