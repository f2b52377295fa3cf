"""Tags that are called otherwise than the classes: --map, --unknown-tags, and what the errors tell to add."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from pseudomask.config import LabelOptions
from pseudomask.config.common import TagOptions
from pseudomask.data.collection import Collection, align_tags, collect
from pseudomask.data.labels import read_labels
from pseudomask.data.labels.renaming import read_map, suggestions
from pseudomask.errors import LabelError, UsageError

VOC = ("aeroplane", "bottle", "car", "cat", "diningtable", "horse", "motorbike", "pottedplant", "sofa", "tvmonitor")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Five photos with COCO's names; the last shows only what VOC does not know."""
    names = ["motorcycle", "cat", "carrot", "mouse", "airplane", "tv", "potted plant"]
    shown = [["motorcycle", "cat"], ["carrot", "airplane"], ["tv"], ["potted plant", "mouse"], ["carrot"]]
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(len(shown)):
        Image.new("RGB", (4, 4)).save(photos / f"{i}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(len(shown))],
        "annotations": [
            {"image_id": i, "category_id": names.index(name) + 1} for i, found in enumerate(shown) for name in found
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return photos


def read(photos: Path, **more: object) -> Collection:
    return collect(photos, LabelOptions(labels=photos.parent / "instances.json", **more))  # type: ignore[arg-type]


def names_of(found: Collection) -> dict[str, tuple[str, ...] | None]:
    return {item.key: found.tag_names(item.key) for item in found.items}


ALIGNED = {
    "0": ("cat", "motorbike"),
    "1": ("aeroplane",),
    "2": ("tvmonitor",),
    "3": ("pottedplant",),
    "4": (),
}


def test_what_the_error_tells_to_add_settles_it(coco: Path) -> None:
    with pytest.raises(LabelError, match="the weights have no class 'motorcycle', 'carrot'") as caught:
        align_tags(read(coco), VOC)
    told = re.search(r"add (--map .+), and (--unknown-tags drop)", str(caught.value))
    assert told
    _, text, _, drop = shlex.split(f"{told[1]} {told[2]}")
    assert "carrot=" not in text, "it is no car"
    assert "mouse=" not in text, "it is no horse"
    found = align_tags(read(coco, map=text, unknown_tags=drop), VOC)
    assert names_of(found) == ALIGNED
    assert any("'carrot', 'mouse'" in note for note in found.notes)


def test_the_same_with_a_class_file(coco: Path) -> None:
    (coco.parent / "voc.txt").write_text("\n".join(VOC))
    with pytest.raises(LabelError, match=r"unknown class 'motorcycle' \(and 5 more\).*--map .*--unknown-tags drop"):
        read(coco, class_file=coco.parent / "voc.txt")
    text = "motorcycle=motorbike,airplane=aeroplane,tv=tvmonitor,potted plant=pottedplant"
    found = read(coco, class_file=coco.parent / "voc.txt", map=text, unknown_tags="drop")
    assert (names_of(found), found.classes) == (ALIGNED, VOC)


def test_without_a_class_list_several_tags_become_one_class(coco: Path) -> None:
    found = read(coco, map="MOTORCYCLE=thing,airplane=thing,mouse=background,bicycle=bike")
    assert found.classes == ("thing", "cat", "carrot", "tv", "potted plant")
    assert names_of(found)["1"] == ("thing", "carrot")
    assert names_of(found)["3"] == ("potted plant",)
    assert any("--map has names that no label has: 'bicycle'" in note for note in found.notes)


def test_a_map_may_swap_names(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("filename,labels\na.jpg,cat\nb.jpg,dog\nc.jpg,cat;dog\nd.jpg,cow\n")
    swapped = read_labels(tmp_path / "l.csv", TagOptions(map="cat=dog,dog=cat"))
    assert swapped.classes == ("cat", "cow", "dog")
    assert swapped.tags == {"a.jpg": (2,), "b.jpg": (0,), "c.jpg": (0, 2), "d.jpg": (1,)}


def test_numbers_and_one_column_a_class_and_folders(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("filename,labels\na.jpg,17\nb.jpg,18;17\n")
    assert read_labels(tmp_path / "n.csv", TagOptions(map="17=cat,18=dog")).tags == {"a.jpg": (0,), "b.jpg": (0, 1)}
    (tmp_path / "h.csv").write_text("filename,kitty,dog\na.jpg,1,0\nb.jpg,1,1\n")
    table = read_labels(tmp_path / "h.csv", TagOptions(map="kitty=cat"), classes=["dog", "cat"])
    assert table.tags == {"a.jpg": (1,), "b.jpg": (0, 1)}
    for name in ("train/kitty", "train/dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name / "a.png")
    table = read_labels(tmp_path / "photos", TagOptions(map="kitty=cat"), classes=["dog", "cat"])
    assert table.tags == {"train/dog/a.png": (0,), "train/kitty/a.png": (1,)}


def test_a_file_of_pairs(tmp_path: Path) -> None:
    file = tmp_path / "map.txt"
    file.write_text("# COCO to VOC\nairplane = aeroplane\n\ntable, round=table\n")
    assert read_map(str(file)) == {"airplane": "aeroplane", "table, round": "table"}
    file.write_text("airplane=aeroplane\ncouch\n")
    with pytest.raises(LabelError, match=r"map\.txt, line 2: --map: 'couch' is no pair"):
        read_map(str(file))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("airplane", "no such file, and no pair"),
        ("a=b,c", "'c' is no pair"),
        ("a=", "'a=' is no pair.*--no-class"),
        ("a=b,A=c", "two classes for 'A'"),
    ],
)
def test_mistakes_in_the_map(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_map(text)


def test_a_target_that_is_no_class_is_a_slip_even_where_unknown_tags_are_dropped(coco: Path) -> None:
    for unknown in ("drop", "error"):
        with pytest.raises(UsageError, match="--map: 'motobike' is no class; did you mean 'motorbike'"):
            align_tags(read(coco, map="motorcycle=motobike", unknown_tags=unknown), VOC)
    (coco.parent / "voc.txt").write_text("\n".join(VOC))
    with pytest.raises(UsageError, match="--map: 'motobike' is no class; did you mean 'motorbike'"):
        read(coco, map="motorcycle=motobike", unknown_tags="drop", class_file=coco.parent / "voc.txt")


def test_photos_outside_the_limit_are_known_by_the_same_names(coco: Path) -> None:
    """On resume their tags are compared with those in the manifest."""
    text = "motorcycle=motorbike,airplane=aeroplane,tv=tvmonitor,potted plant=pottedplant"
    found = align_tags(read(coco, map=text, unknown_tags="drop", limit=2), VOC)
    assert {key: found.whole.tag_names(key) for key in ALIGNED} == ALIGNED


def test_only_sure_names_are_suggested() -> None:
    found = suggestions(["Hrose", "couch", "carrot", "mouse", "bear", "Motor-Bike", "cow"], VOC)
    assert found == {"Hrose": "horse", "couch": "sofa", "Motor-Bike": "motorbike"}
