"""Exports for tools that show predictions: FiftyOne, Label Studio, CVAT. Read back by their readers where installed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from made_masks import CLASSES, Made
from pycocotools.coco import COCO

from pseudomask.exporting.brush import brush_code
from pseudomask.running.layout import Outputs
from pseudomask.scores import ScoreMap, save_scores


@pytest.fixture
def scored(made: Made) -> Made:
    """Every mask has scores: 0.25, 0.5 and 0.75 for the three classes."""
    for key, mask in made.masks.items():
        height, width = mask.shape
        values = np.empty((3, -(-height // 4), -(-width // 4)), np.float32)
        values[:] = np.array([0.25, 0.5, 0.75], np.float32)[:, None, None]
        save_scores(Outputs(key, made.out).scores, ScoreMap((1, 2, 3), values, (height, width), 4))
    return made


def unpacked(code: list[int]) -> np.ndarray:
    """The documented decoder of Label Studio's code: bool, flat, one per pixel."""
    bits = "".join(f"{byte:08b}" for byte in code)
    at = 0

    def read(n: int) -> int:
        nonlocal at
        at += n
        return int(bits[at - n : at], 2)

    length, word, sizes = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < length:
        same = read(1)
        run = read(sizes[read(2)]) + 1
        out += [read(word)] * run if same else [read(word) for _ in range(run)]
    values = np.array(out, np.uint8).reshape(-1, 4)
    assert (values == values[:, :1]).all()
    return values[:, 0] == 255


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 60), (300, 320)])
@pytest.mark.parametrize("kind", ["empty", "full", "noise", "box"])
def test_brush_codes_come_back_exactly(size: tuple[int, int], kind: str) -> None:
    region = np.full(size, kind == "full")
    if kind == "noise":
        region = np.random.default_rng(1).random(size) > 0.5
    if kind == "box":
        region[size[0] // 3 :, size[1] // 4 :] = True
    assert (unpacked(brush_code(region)) == region.ravel()).all()


def test_brush_codes_by_label_studio() -> None:
    brush = pytest.importorskip("label_studio_converter.brush", reason="label-studio-converter is not installed")
    for seed in range(3):
        region = np.random.default_rng(seed).random((33, 70)) > 0.3
        region[5:20, 10:60] = seed == 1
        read = brush.decode_rle(brush_code(region)).reshape(33, 70, 4)
        assert (read == np.where(region, 255, 0)[..., None]).all()


def test_label_studio_tasks_hold_masks_and_scores(scored: Made) -> None:
    result = scored.export("labelstudio", val_fraction=0.34)
    assert result.splits == {"train": 4, "val": 2}
    seen: dict[str, dict[str, Any]] = {}
    for split in result.splits:
        for task in json.loads((scored.dest / f"tasks_{split}.json").read_text()):
            seen[task["data"]["image"].rpartition("?d=images/")[2]] = task["predictions"][0]
    assert len(seen) == len(scored.masks)
    mask, prediction = scored.masks["deep/b c"], seen["deep/b%20c.jpg"]
    for one in prediction["result"]:
        index = CLASSES.index(one["value"]["brushlabels"][0]) + 1
        assert (one["original_height"], one["original_width"]) == mask.shape
        assert (unpacked(one["value"]["rle"]).reshape(mask.shape) == (mask == index)).all()
        assert one["score"] == pytest.approx(0.25 * index, abs=0.005)
    assert {one["value"]["brushlabels"][0] for one in prediction["result"]} == {
        CLASSES[index - 1] for index in np.unique(mask) if 0 < index < 255
    }
    assert prediction["score"] == pytest.approx(np.mean([one["score"] for one in prediction["result"]]), abs=1e-3)
    assert seen["empty.jpg"]["result"] == []
    labels = ET.parse(scored.dest / "config.xml").findall(".//Label")
    assert [label.get("value") for label in labels] == list(CLASSES)


def test_without_scores_there_is_no_confidence(made: Made) -> None:
    made.export("labelstudio")
    text = (made.dest / "tasks_train.json").read_text()
    assert '"rle"' in text
    assert '"score"' not in text


def test_fiftyone_gets_coco_with_scores(scored: Made) -> None:
    """FiftyOne's COCO reader takes an annotation's `score` as `confidence` (fiftyone/utils/coco.py)."""
    scored.export("fiftyone")
    data = COCO(scored.dest / "annotations/instances_train.json")
    names = {image["id"]: image["file_name"] for image in data.dataset["images"]}
    assert data.dataset["annotations"]
    for annotation in data.dataset["annotations"]:
        mask = scored.masks[names[annotation["image_id"]].rpartition(".")[0]]
        assert (data.annToMask(annotation) == (mask == annotation["category_id"])).all()
        assert annotation["score"] == pytest.approx(0.25 * annotation["category_id"], abs=0.005)


def test_fiftyone_code_to_paste_is_python(scored: Made) -> None:
    compile(scored.export("fiftyone", val_fraction=0.34).paste, "paste", "exec")


def painted(element: ET.Element, shape: tuple[int, int]) -> np.ndarray:
    """As CVAT documents it: runs outside and inside in turn, within the box."""
    left, top, width, height = (int(element.get(name, "")) for name in ("left", "top", "width", "height"))
    runs = [int(run) for run in element.get("rle", "").split(",")]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    found = np.zeros(shape, bool)
    found[top : top + height, left : left + width] = flat.reshape(height, width)
    return found


def test_cvat_xml_holds_masks_and_scores(scored: Made) -> None:
    scored.export("cvatxml", images=scored.place / "photos")
    images = ET.parse(scored.dest / "annotations.xml").findall("image")
    assert [image.get("name") for image in images] == list(scored.photos.values())
    for image in images:
        mask = scored.masks[image.get("name", "").rpartition(".")[0]]
        assert (int(image.get("height", "")), int(image.get("width", ""))) == mask.shape
        shapes = {CLASSES.index(shape.get("label", "")) + 1: shape for shape in image}
        assert set(shapes) == {int(index) for index in np.unique(mask) if 0 < index < 255}
        for index, shape in shapes.items():
            assert (painted(shape, mask.shape) == (mask == index)).all()
            assert float(shape.findtext("attribute[@name='score']", "")) == pytest.approx(0.25 * index, abs=0.005)
    labels = json.loads((scored.dest / "labels.json").read_text())
    assert [label["name"] for label in labels] == list(CLASSES)
    assert all(label["attributes"][0]["name"] == "score" for label in labels)


@pytest.mark.parametrize("format", ["labelstudio", "fiftyone", "cvatxml"])
def test_a_damaged_score_file_costs_one_confidence(scored: Made, format: str) -> None:
    Outputs("a", scored.out).scores.write_bytes(b"no zip")
    result = scored.export(format, images=scored.place / "photos")
    assert result.exit_code == 0
    assert result.splits == {"train": len(scored.masks)}
    assert "1 mask without confidence: no usable file in OUT/scores" in result.lost
