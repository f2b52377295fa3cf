"""coco."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from labels import read_labels

from pseudomask.data.labels import match
from pseudomask.errors import LabelError

GOOD: dict[str, Any] = {
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 13, "name": "stop sign"}],
    "images": [
        {"id": 7, "file_name": "x.jpg"},
        {"id": 5, "file_name": "y.jpg"},
        {"id": 6, "file_name": "z.jpg"},
    ],
    "annotations": [
        {"image_id": 7, "category_id": 90, "iscrowd": 0},
        {"image_id": 7, "category_id": 1},
        {"image_id": 7, "category_id": 1},
        {"image_id": 5, "category_id": 13, "iscrowd": 1},
    ],
}


def write(tmp_path: Path, data: object) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_ids_become_contiguous_in_id_order(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, GOOD))
    assert table.format == "coco"
    assert table.classes == ("person", "stop sign", "toothbrush")
    assert table.tags == {"x.jpg": (0, 2), "y.jpg": (), "z.jpg": ()}
    assert "category id -> position: 1->0, 13->1, 90->2" in table.notes
    assert "1 crowd annotation not used as tags (--crowd ignore)" in table.notes


def test_crowds_can_count(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, GOOD), crowd="keep")
    assert table.tags == {"x.jpg": (0, 2), "y.jpg": (1,), "z.jpg": ()}


def test_given_classes_map_by_name(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, GOOD), classes=["toothbrush", "person"])
    assert table.classes == ("toothbrush", "person")
    assert table.tags["x.jpg"] == (0, 1)  # stop sign is only a crowd here, so it is not used
    with pytest.raises(LabelError, match="unknown class 'stop sign'"):
        read_labels(write(tmp_path, GOOD), classes=["toothbrush", "person"], crowd="keep")


def test_background_category_is_left_out(tmp_path: Path) -> None:
    data = copy.deepcopy(GOOD)
    data["categories"].append({"id": 0, "name": "background"})
    data["annotations"].append({"image_id": 6, "category_id": 0})
    table = read_labels(write(tmp_path, data))
    assert table.classes == ("person", "stop sign", "toothbrush")
    assert table.tags["z.jpg"] == ()


def edit(key: str, row: object) -> Callable[[dict[str, Any]], None]:
    return lambda data: data[key].append(row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("annotations", {"image_id": 8, "category_id": 1}), "annotation 4 refers to image 8"),
        (edit("annotations", {"image_id": [8], "category_id": 1}), "annotation 4 refers to image"),
        (edit("annotations", {"image_id": 7, "category_id": 2}), "annotation 4 refers to category 2"),
        (edit("annotations", {"image_id": 7, "category_id": -1}), "annotation 4 refers to category -1"),
        (edit("annotations", {"image_id": 7, "category_id": {}}), "annotation 4 refers to category"),
        (edit("annotations", 5), "'annotations' is not a list of objects"),
        (edit("categories", {"id": 1, "name": "cat"}), "category 1 'cat' is defined twice"),
        (edit("categories", {"id": 2, "name": "person"}), "category 2 'person' is defined twice"),
        (edit("categories", {"id": -2, "name": "cat"}), "category id -2 is negative"),
        (edit("categories", {"id": 2, "name": ""}), "a category needs"),
        (edit("categories", {"id": 2, "name": "c\ud800t"}), "unpaired surrogate"),
        (edit("categories", {"id": 1.5, "name": "cat"}), "a category needs"),
        (edit("images", {"id": 7, "file_name": "w.jpg"}), "image id 7 is defined twice"),
        (edit("images", {"id": 9, "file_name": "x.jpg"}), "listed twice with different tags"),
        (edit("images", {"id": 9, "file_name": "../w.jpg"}), "is outside the image folder"),
        (edit("images", {"id": 9}), "an image needs"),
        (lambda data: data.pop("categories"), "'categories' is not a list"),
    ],
)
def test_bad_content(tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    data = copy.deepcopy(GOOD)
    change(data)
    with pytest.raises(LabelError, match=message):
        read_labels(write(tmp_path, data))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"images": [}', r"instances\.json, line 2: not JSON"),
        ('{"images": NaN}', "NaN is not a JSON number"),
        ("[" * 200_000, "invalid JSON"),
        ("[1, 2]", "not a COCO file"),
        ("", "not JSON"),
    ],
)
def test_bad_json(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        read_labels(write(tmp_path, text))


@pytest.mark.shared
def test_real_file(shared: Path) -> None:
    from pseudomask.data.images import find_images

    table = read_labels(shared / "data" / "coco" / "instances.json")
    assert len(table.classes) == 80
    assert (table.classes[0], table.classes[-1]) == ("person", "toothbrush")
    matched = match(find_images(shared / "data" / "coco" / "images"), table)
    assert len(matched.tags) == 112
    assert (matched.untagged, matched.orphans) == ([], [])
