"""Tiny photos laid out as the official folders of PASCAL VOC 2012 and COCO 2014, and settings that suit them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from pseudomask.masks import save_mask

ROOT = Path(__file__).parents[2]
VOC = ("cat", "dog", "sheep")  # in the place of tiny's three shapes
SMALL = {
    "DEVICE": "cpu",
    "AMP": "off",
    "WORKERS": "0",
    "CROP": "48",
    "MIN_SIDE": "40",
    "MAX_SIDE": "64",
    "EPOCHS": "1",
    "BATCH_SIZE": "4",
    "LR": "0.01",
    "LR_HEAD": "0.01",
    "CALIBRATE_LR_HEAD": "1.0",
    "SCALES": "1.0",
    "FLIP": "false",
    "BACKBONE": tiny.NARROW,
    "BACKBONE_WEIGHTS": "backbone.safetensors",
    "NETWORK": f"deeplabv3_{tiny.NARROW}",
    "OUTPUT_STRIDE": "16",
    "RADIUS": "5",
    "CONFIDENT_CRF": "false",
    "WALK_STEPS": "2",
    "CRF_ITERATIONS": "1",
    "CLIP": "1",
}
"""Environment variables that make each step small."""


def draw(count: int) -> list[tuple[np.ndarray, np.ndarray, list[int]]]:
    """Photos (48, 64, 3), their true masks, and which of the three classes they show."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        shown = sorted({i % 3, int(rng.integers(3))})
        photo = tiny.draw([tiny.CLASSES[k] for k in shown], (48, 64), rng)
        truth = np.zeros((48, 64), np.uint8)
        for k in shown:
            truth[(photo == tiny.COLOURS[tiny.CLASSES[k]]).all(2)] = k + 1
        found.append((photo, truth, shown))
    return found


def write_voc(place: Path) -> None:
    """VOCdevkit/VOC2012 with 12 photos, the first 8 in train_aug, the first 4 of them in train, the rest in val."""
    root = place / "VOCdevkit/VOC2012"
    numbers = {"cat": 8, "dog": 12, "sheep": 17}
    names = [f"2007_{i:06d}" for i in range(12)]
    for folder in ("JPEGImages", "Annotations", "ImageSets/Segmentation", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for name, (photo, truth, shown) in zip(names, draw(12), strict=True):
        Image.fromarray(photo).save(root / f"JPEGImages/{name}.jpg", quality=95)
        objects = "".join(f"<object><name>{VOC[k]}</name></object>" for k in shown)
        (root / f"Annotations/{name}.xml").write_text(f"<annotation>{objects}</annotation>")
        labels = np.array([0, *(numbers[one] for one in VOC)], np.uint8)
        save_mask(root / f"SegmentationClass/{name}.png", labels[truth])
    for split, some in (("train", names[:4]), ("train_aug", names[:8]), ("val", names[8:])):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{name}\n" for name in some))


def write_coco(place: Path) -> None:
    """coco with 9 photos in train2014 and 3 in val2014; the first photo of each also has a crowd."""
    drawn = iter(draw(12))
    categories = [{"id": 10 * k + 3, "name": name} for k, name in enumerate(VOC)]
    (place / "coco/annotations").mkdir(parents=True)
    for split, count in (("train2014", 9), ("val2014", 3)):
        (place / "coco" / split).mkdir()
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
        for i, (photo, truth, shown) in zip(range(count), drawn, strict=False):
            name = f"COCO_{split}_{i:012d}.jpg"
            Image.fromarray(photo).save(place / "coco" / split / name, quality=95)
            content["images"].append({"id": i, "file_name": name, "height": 48, "width": 64})
            for k in shown:
                y, x = np.nonzero(truth == k + 1)
                if len(y):
                    x0, x1, y0, y1 = (float(v) for v in (x.min(), x.max() + 1, y.min(), y.max() + 1))
                    box = [[x0, y0, x1, y0, x1, y1, x0, y1]]
                    row = {"image_id": i, "category_id": 10 * k + 3, "iscrowd": 0, "segmentation": box}
                    content["annotations"].append(row | {"id": len(content["annotations"])})
            if not i:
                crowd = {"size": [48, 64], "counts": [48 * 60, 48 * 4]}
                row = {"image_id": i, "category_id": 3, "iscrowd": 1, "segmentation": crowd}
                content["annotations"].append(row | {"id": len(content["annotations"])})
        (place / f"coco/annotations/instances_{split}.json").write_text(json.dumps(content))


def laid_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small data, a backbone and the repository's examples in `place`, which becomes the current folder."""
    write_voc(place)
    write_coco(place)
    tiny.write_backbone(place / "backbone.safetensors")
    shutil.copytree(ROOT / "examples", place / "examples", ignore=shutil.ignore_patterns("photos"))
    monkeypatch.chdir(place)
    for name in ("PSEUDOMASK_WEIGHTS", "PSEUDOMASK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SMALL.items():
        monkeypatch.setenv(f"PSEUDOMASK_{name}", value)
    return place
