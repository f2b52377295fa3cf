"""Held-out photos that are trained on too are found at the start of a training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from PIL import Image

from pseudomask.api import train_cls
from pseudomask.config import TrainClsConfig
from pseudomask.training import copies

Settings = Callable[..., TrainClsConfig]


@pytest.fixture
def doubled(room: Path, runs: Path, settings: Settings) -> TrainClsConfig:
    """Two held-out photos: one is a smaller copy of a photo to train on, the other one is not."""
    photos = runs / "photos"
    shutil.copytree(room / "photos", photos)
    labels = (room / "photos.csv").read_text() + "copy.png,disc\nother.png,disc\n"
    (runs / "l.csv").write_text(labels)
    with Image.open(photos / "p01.png") as photo:
        photo.resize((photo.width * 3 // 4, photo.height * 3 // 4), Image.Resampling.BOX).save(photos / "copy.png")
    Image.linear_gradient("L").resize((60, 40)).save(photos / "other.png")
    (runs / "val.txt").write_text("copy.png\nother.png\n")
    return settings(runs / "x", images=photos, labels=runs / "l.csv", val_list=runs / "val.txt")


def test_a_copy_across_the_split_is_told_and_kept_on_record(doubled: TrainClsConfig) -> None:
    ear = tiny.StopsAt(3)
    result = train_cls(doubled, ear)
    assert [w for w in ear.warnings if "1 of 2 held-out photos" in w and "copy.png" in w]
    assert result.facts["held_out_copies"] == 1
    again = train_cls(doubled)
    assert again.facts["held_out_copies"] == 1
    record = json.loads((doubled.run / "run.json").read_text())
    assert record["protocol"]["held_out_copies"] == ["copy.png"]


def test_a_long_search_is_left_out_and_that_is_told(doubled: TrainClsConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_SECONDS", 0.0)
    ear = tiny.StopsAt(1)
    result = train_cls(doubled, ear)
    assert [i for i in ear.infos if "not compared" in i and "pseudomask check" in i]
    assert "held_out_copies" not in result.facts


def test_only_held_out_members_of_mixed_groups_count() -> None:
    assert copies.across([[0, 1], [2, 7, 6], [8, 9]], held_from=5) == [6, 7]
