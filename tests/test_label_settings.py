"""On resume the tags themselves are compared: how they are read decides nothing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import tiny

from pseudomask.api import train_cls
from pseudomask.config import ExtractConfig, TrainClsConfig
from pseudomask.config.common import TagOptions
from pseudomask.config.roles import deciding
from pseudomask.errors import RecordMismatch
from pseudomask.extracting.extract import extract
from pseudomask.training.split import gather


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, and a table with two columns of tags; the second leaves one photo's tags out but the first."""
    folder = tmp_path_factory.mktemp("labels")
    labels = tiny.write_photos(folder / "photos", 8, seed=3)
    tiny.write_weights(folder / "weights.safetensors", thresholds={"product": 0.3, "first": 0.3})
    tiny.write_backbone(folder / "backbone.safetensors")
    header, *rows = csv.reader(labels.read_text().splitlines())
    assert len(header) == 2
    changed = next(i for i, (_, tags) in enumerate(rows) if ";" in tags)
    with labels.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "tags", "fewer"])
        for i, (name, tags) in enumerate(rows):
            table.writerow([name, tags, tags.partition(";")[0] if i == changed else tags])
    return folder


def extraction(place: Path, out: Path, **more: Any) -> ExtractConfig:
    same = {"labels": place / "photos.csv", "weights": place / "weights.safetensors", "device": "cpu", "amp": "off"}
    same |= {"label_column": "tags", "scales": "1.0", "workers": 0, "method": "recam", "refine": ("none",)}
    return ExtractConfig(**{"images": place / "photos", "out": out, **same, **more})


def test_none_of_them_decides_a_run() -> None:
    assert deciding(TagOptions) == []


def test_extract_goes_on_where_the_tags_are_the_same(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract(extraction(place, out, limit=5))
    assert extract(extraction(place, out, tag_separator=";", label_format="csv", merge_names=True)).skipped == 5
    again = extract(extraction(place, out, label_column="fewer"))
    assert (again.skipped, again.done) == (7, 8), "its tags are others"


def training(place: Path, run: Path, **more: Any) -> TrainClsConfig:
    same = {"crop": 32, "batch_size": 4, "epochs": 1, "label_column": "tags", "val_fraction": 0.0}
    return tiny.training(place, run, **same | more)


def test_a_training_goes_on_where_the_tags_are_the_same(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = train_cls(training(place, run))
    assert gather(training(place, run)).training.labels_hash != "none"
    same = train_cls(training(place, run, tag_separator=";", label_format="csv", image_column="image"))
    assert (same.weights, same.facts["steps"]) == (first.weights, first.facts["steps"])
    with pytest.raises(RecordMismatch, match="tags differ"):
        train_cls(training(place, run, label_column="fewer"))
