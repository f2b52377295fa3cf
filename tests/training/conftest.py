"""Tiny trainings: 24 photos of coloured shapes, a narrow random ResNet, three epochs of two steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from pseudomask.config import TrainClsConfig


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    """Photos, labels and a backbone; removed afterwards, since checkpoints are large."""
    with tempfile.TemporaryDirectory(prefix="pseudomask-tests-") as folder:
        path = Path(folder)
        tiny.write_photos(path / "photos", 24)
        tiny.write_backbone(path / "backbone.safetensors")
        yield path


@pytest.fixture
def runs(room: Path) -> Iterator[Path]:
    """A folder for this test's runs."""
    with tempfile.TemporaryDirectory(dir=room) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def settings(room: Path) -> Callable[..., TrainClsConfig]:
    base = tiny.training(room, room / "unset", crop=64, batch_size=8, epochs=3, lr=0.002, val_fraction=0.25, seed=5)

    def make(run: Path, **changes: Any) -> TrainClsConfig:
        return replace(base, run=run, **changes)

    return make
