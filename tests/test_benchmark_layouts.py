"""benchmarks.lay_out and benchmarks.coco_scale: folders as the official ones, at a tiny size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labels import read_labels
from PIL import Image

from benchmarks import coco_scale, lay_out
from pseudomask.data.images import find_images
from pseudomask.data.labels import match
from pseudomask.masks import save_mask

TAGS = {f"2007_{i:06d}": ("cat;dog" if i % 2 else "cat") for i in range(9)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """VOC's and COCO's photos as lay_out takes them; the last of VOC's has no tag."""
    folder = tmp_path / "data"
    (folder / "ImageSets").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    names = list(TAGS)
    for split, some in (("train", names[:4]), ("train_aug", names[:7]), ("val", names[7:])):
        (folder / "ImageSets" / f"{split}.txt").write_text("".join(f"{name}\n" for name in some))
    for name in names:
        Image.new("RGB", (8, 6)).save(folder / "JPEGImages" / f"{name}.jpg")
        save_mask(folder / "SegmentationClass" / f"{name}.png", np.zeros((6, 8), np.uint8))
    rows = "".join(f"{name}.jpg,{tags if name != names[-1] else ''}\n" for name, tags in TAGS.items())
    (folder / "labels.csv").write_text("filename,labels\n" + rows)
    (folder / "images").symlink_to(folder / "JPEGImages")
    content: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{name}.jpg", "height": 6, "width": 8} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": i, "category_id": 17} for i in range(len(names))],
        "categories": [{"id": 17, "name": "cat"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


def test_lay_out(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["lay_out", str(tmp_path / "out"), "--voc", str(data), "--coco", str(data)]
    monkeypatch.setattr(sys, "argv", [*words, "--train-aug", "5", "--train", "2", "--val", "1"])
    lay_out.main()
    root = tmp_path / "out" / "VOCdevkit" / "VOC2012"
    lists = {
        name: (root / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().split()
        for name in ("train", "train_aug", "val")
    }
    names = list(TAGS)
    assert lists["train"] == [names[0], names[2]], "evenly spread"
    assert lists["val"] == [names[7]]
    assert lists["train_aug"][:2] == lists["train"]
    assert len({*lists["train_aug"]}) == 5
    photos = find_images(root / "JPEGImages")
    assert {item.key for item in photos} == {*lists["train_aug"], *lists["val"]}
    table = read_labels(root)
    assert {key: ";".join(table.classes[i] for i in found) for key, found in match(photos, table).tags.items()} == {
        item.key: TAGS[item.key] for item in photos
    }
    assert all((root / "SegmentationClass" / f"{item.key}.png").is_file() for item in photos)
    coco = tmp_path / "out" / "coco"
    for split, number in (("train2014", 7), ("val2014", 2)):
        photos = find_images(coco / split)
        assert len(photos) == number
        assert all(item.key.startswith(f"COCO_{split}_0000") for item in photos)
        matched = match(photos, read_labels(coco / "annotations" / f"instances_{split}.json"))
        assert (len(matched.tags), matched.orphans) == (number, [])


@pytest.mark.slow
def test_coco_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every phase but planning, which tests/chain covers, tells what it counted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pseudomask.evaluation.cores", lambda: 1)
    coco_scale.lay_out(20, 3, (16, 12))
    annotations = json.loads(Path("coco/annotations/instances_train2014.json").read_text())
    objects = len(annotations["annotations"])
    assert 80 < objects < 220, "about 7.3 a photo"
    assert len(annotations["categories"]) == 80
    assert coco_scale.listing() == "20 photos"
    pairs = {(row["image_id"], row["category_id"]) for row in annotations["annotations"] if not row["iscrowd"]}
    assert coco_scale.labels() == f"{len(pairs)} tags of 80 classes"
    assert coco_scale.truth().startswith(f"{objects:,} objects, ")
    assert coco_scale.manifest().startswith("20 lines, ")
    assert coco_scale.evaluation().startswith("20 masks, mean IoU ")
    assert json.loads(Path("report.json").read_text())["protocol"]["images"] == 20
