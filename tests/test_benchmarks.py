"""The benchmarks run, and measure what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.recam_step", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_recam_step(tmp_path: Path) -> None:
    """Small, but with so many classes that the 5-D product (420 MB) outweighs all else."""
    file = tmp_path / "result.json"
    settings = ("--batch-size", "4", "--classes", "512", "--crop", "160", "--backbone", "resnet18")
    done = run(*settings, "--amp", "off", "--repeats", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    assert result["settings"]["classes"] == 512
    assert set(result["ratios"]) == {"plain", "recam", "naive"}
    assert result["ratios"]["plain"] == {"seconds": 1.0, "memory": 1.0}
    steps = result["steps"]
    for name, ratio in result["ratios"].items():
        for what in ("seconds", "memory"):
            assert ratio[what] == pytest.approx(steps[name][what] / steps["plain"][what])
    # both ReCAM steps are one loss, and it is not the plain one
    assert steps["recam"]["loss"] == pytest.approx(steps["naive"]["loss"], rel=1e-4)
    assert steps["recam"]["loss"] > 2 * steps["plain"]["loss"]
    product = 4 * 4 * 512 * 512 * 10 * 10
    assert steps["naive"]["memory"] > product
    assert steps["recam"]["memory"] < product / 2
    assert result["target"] == {"memory": 1.1, "met": result["ratios"]["recam"]["memory"] <= 1.1}
    assert "| ReCAM, 5-D product |" in done.stdout


def test_a_step_that_cannot_fit_is_skipped() -> None:
    """One variant alone, as the benchmark starts it; the product would take thousands of GB."""
    settings = ("--batch-size", "1", "--classes", "80", "--crop", "32", "--backbone", "resnet18")
    done = run("--variant", "naive", "--plain-memory", str(2**52), *settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["skipped"].startswith("needs about 4194304.")


def test_settings_are_checked() -> None:
    done = run("--classes", "1", "--tags", "2")
    assert done.returncode == 2
    assert "--tags must be between 1 and --classes" in done.stderr
