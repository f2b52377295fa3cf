"""Fixtures that all tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# One thread a process: tests run side by side, and threads that wait for each other on busy cores crawl.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Figures and bytes of the tests are a CPU's, so a GPU is out of sight; tests marked cuda show it to their processes.
os.environ.setdefault("TESTS_GPU", os.environ.get("CUDA_VISIBLE_DEVICES") or "0")
os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and labels beside the repository; skips where it is not."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared: the real photos are not on this machine")
    return folder
