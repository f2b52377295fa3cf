"""True masks drawn from COCO's annotations: the shapes are pycocotools' own, crowds and overlaps follow one rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pseudomask.errors import UsageError
from pseudomask.masks import save_mask
from pseudomask.measuring.coco_truth import read_coco_truth
from pseudomask.measuring.evaluate import evaluate

TRIANGLE = [[2.5, 1.25, 17.0, 3.5, 8.75, 13.5]]
SQUARE = [[4.0, 4.0, 12.0, 4.0, 12.0, 12.0, 4.0, 12.0]]
CROWD = {"size": [16, 20], "counts": [160, 160]}  # the right half


def content(**more: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "info": {"year": [2014, "a"]},
        "images": [{"id": 7, "file_name": "a.jpg", "height": 16, "width": 20}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "iscrowd": 0, "segmentation": TRIANGLE},
            {"id": 2, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": SQUARE},
            {"id": 3, "image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": CROWD},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
    }
    return rows | more


def written(tmp_path: Path, rows: Any) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows, indent=1))
    return path


def drawn(shape: Any) -> np.ndarray:
    found: np.ndarray = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(shape, 16, 20))) > 0
    return found


@pytest.mark.parametrize("crowds", ["ignore", "background"])
def test_objects_are_drawn_in_order_above_crowds(tmp_path: Path, crowds: Any) -> None:
    truth = read_coco_truth(written(tmp_path, content()), ("background", "dog", "person"), crowds, 255)
    expected = np.zeros((16, 20), int)
    if crowds == "ignore":
        expected[:, 10:] = 255
    expected[drawn(TRIANGLE)] = 1
    expected[drawn(SQUARE)] = 2
    (file,) = truth.files
    assert (file.key, file.relative) == ("a", "a.jpg")
    assert np.array_equal(truth.read(file.path)[0], expected)


def test_an_evaluation_takes_the_annotations_as_truth(tmp_path: Path) -> None:
    truth = written(tmp_path, content())
    classes = ("person", "dog")  # as in the file, the ids' order
    names = ("background", *classes)
    mask = read_coco_truth(truth, names, "ignore", 255).read(truth / "a.jpg")[0]
    save_mask(tmp_path / "masks/a.png", np.where(mask == 255, 0, mask).astype(np.uint8))
    report = evaluate(tmp_path / "masks", truth, class_names=classes)
    assert report.mean_iou == 1.0
    assert "crowds are ignored" in report.protocol.truth_read_as
    assert report.protocol.ignored_share > 0
    with pytest.raises(UsageError, match="apply only to masks"):
        evaluate(tmp_path / "masks", truth, class_names=classes, truth_map="255=dog")


ONE = content()["annotations"][0]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (content(images=content()["images"] * 2), "image 7 .* is listed twice"),
        (content(annotations=[ONE, ONE]), "annotation id 1 is used twice"),
        (content(annotations=[ONE | {"image_id": 8}]), "refers to image 8"),
        (content(annotations=[ONE | {"category_id": 5}]), "refers to category 5"),
        (content(categories=[{"id": 18, "name": "dog"}, {"id": 18, "name": "cat"}]), "category 18 .* is defined twice"),
        (content(categories=[{"id": 18, "name": "wolf"}, {"id": 1, "name": "person"}]), "wolf .*not in the class list"),
        ({"images": [], "categories": []}, "'annotations' is not a list of objects"),
        ([1, 2], "not a COCO instances file"),
        (json.dumps(content())[:400], "not a COCO instances file"),
        (content(images=[{"id": 7, "file_name": "a.jpg"}]), "no 'height' in a row"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, rows: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read_coco_truth(written(tmp_path, rows), ("background", "dog", "person"), "ignore", 255)


@pytest.mark.parametrize(
    "shape", [[], [[1, 2, 3]], [["a"] * 6], {"size": [9, 9], "counts": [81]}, {"size": [16, 20], "counts": "~"}, None]
)
def test_a_shape_that_does_not_fit_is_named(tmp_path: Path, shape: Any) -> None:
    path = written(tmp_path, content(annotations=[ONE | {"segmentation": shape}]))
    truth = read_coco_truth(path, None, "ignore", 255)
    with pytest.raises(UsageError, match=r"annotation 1 of a\.jpg"):
        truth.read(path / "a.jpg")
