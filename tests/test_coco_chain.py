"""The whole chain on real COCO photos: 80 classes, tags from instances.json, truth drawn from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from labels import read_labels

import pseudomask
from pseudomask.data.images import find_images
from pseudomask.masks import save_mask

pytestmark = [
    pytest.mark.shared,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools' own
]
PHOTOS = 16


def draw_truth(instances: Path, out: Path) -> None:
    """Masks of all photos: crowds are ignored (255), and of two overlapping things the later wins."""
    coco_api = pytest.importorskip("pycocotools.coco")
    coco = coco_api.COCO(str(instances))
    position = {c: i + 1 for i, c in enumerate(sorted(coco.getCatIds()))}
    for image in coco.loadImgs(coco.getImgIds()):
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        for one in sorted(coco.loadAnns(coco.getAnnIds(image["id"])), key=lambda a: a["iscrowd"]):
            mask[coco.annToMask(one) > 0] = 255 if one["iscrowd"] else position[one["category_id"]]
        save_mask(out / f"{Path(image['file_name']).stem}.png", mask)


def test_train_reactivate_extract_evaluate_on_coco(shared: Path, tmp_path: Path) -> None:
    coco = shared / "data" / "coco"
    names = tmp_path / "list.txt"
    names.write_text("".join(f"{item.key}\n" for item in find_images(coco / "images")[:PHOTOS]), "utf-8")
    common = {"images": coco / "images", "labels": coco / "instances.json", "list": names, "workers": 0}
    small = {"epochs": 1, "batch_size": 4, "crop": 96, "val_fraction": 0.2, "freeze": "layer4"}
    first = pseudomask.train_cls(
        pseudomask.TrainClsConfig(
            **common,
            **small,
            run=tmp_path / "cls",
            backbone_weights=shared / "weights" / "resnet50_imagenet_caffe_fp16.safetensors",
            backbone_style="caffe",
        )
    )
    second = pseudomask.reactivate(
        pseudomask.ReactivateConfig(**common, **small, run=tmp_path / "recam", weights=first.weights)
    )
    made = pseudomask.extract(
        pseudomask.ExtractConfig(
            **common,
            out=tmp_path / "masks",
            weights=second.weights,
            scales="0.5",
            flip=False,
            method="recam",
            refine=("none",),
        )
    )
    assert (made.done, made.failed, made.exit_code) == (PHOTOS, 0, 0)
    assert len(made.classes) == 80

    draw_truth(coco / "instances.json", tmp_path / "truth")
    result = pseudomask.evaluate(
        pseudomask.EvaluateConfig(pred=tmp_path / "masks", gt=tmp_path / "truth", list=names, sweep=True)
    )
    report = result.to_json()
    assert report["protocol"]["images"] == PHOTOS
    # Tags are given, so that even these barely trained maps put some of the right classes somewhere.
    assert 0.02 < report["mean_iou"] < 1
    json.dumps(report, allow_nan=False)


def test_tags_are_the_categories_annotated(shared: Path) -> None:
    coco = shared / "data" / "coco"
    content = json.loads((coco / "instances.json").read_text("utf-8"))
    table = read_labels(coco / "instances.json")
    assert len(table.classes) == 80
    images = {image["id"]: image["file_name"] for image in content["images"]}
    categories = {c["id"]: c["name"] for c in content["categories"]}
    expected: dict[str, set[str]] = {name: set() for name in images.values()}
    for one in content["annotations"]:
        if not one["iscrowd"]:
            expected[images[one["image_id"]]].add(categories[one["category_id"]])
    assert {name: {table.classes[i] for i in tags} for name, tags in table.tags.items()} == expected
