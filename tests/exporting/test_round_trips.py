"""Each format read back by its ecosystem's own reader, or, where none is here, as its documents say."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_masks import CLASSES, Made
from PIL import Image

from pseudomask.masks import palette

VAL = {"val_fraction": 0.34}


def same_bytes(made: Made, key: str, photo: Path) -> bool:
    return photo.read_bytes() == (made.place / "photos" / made.photos[key]).read_bytes()


def test_voc_by_torchvision(made: Made) -> None:
    from torchvision.datasets import VOCSegmentation

    result = made.export("voc", **VAL)
    assert result.splits == {"train": 4, "val": 2}
    seen = {}
    for split in result.splits:
        data = VOCSegmentation(made.dest, year="2012", image_set=split)
        for (photo, mask), path in zip(data, data.images, strict=True):
            assert photo.size == mask.size
            assert mask.mode == "P"
            seen[Path(path).stem] = np.asarray(mask)
    assert seen.keys() == {key.replace("/", "_") for key in made.masks}
    for key, mask in made.masks.items():
        assert (seen[key.replace("/", "_")] == mask).all()
    root = made.dest / "VOCdevkit/VOC2012"
    assert same_bytes(made, "deep/b c", root / "JPEGImages/deep_b c.jpg")
    first, second = ((root / name / "a.png").read_bytes() for name in ("SegmentationClass", "SegmentationClassAug"))
    assert first == second


def test_voc_photos_are_jpeg(made: Made) -> None:
    made.add("plain.png")
    result = made.export("voc")
    assert result.photos == {"copied": 6, "rewritten": 1}
    with Image.open(made.dest / "VOCdevkit/VOC2012/JPEGImages/plain.jpg") as photo:
        assert photo.format == "JPEG"


def segmentation_set(lines: str, name: str) -> tuple[list[tuple[Path, Path]], dict[str, object]]:
    """What mmsegmentation's BaseSegDataset lists without an ann_file: each file with the suffix, and its mask."""
    known: dict[str, object] = {}
    exec(lines, known)
    told = known[f"{name}_dataset"]
    assert isinstance(told, dict)
    assert (told["type"], told["reduce_zero_label"], told["ignore_index"]) == ("BaseSegDataset", False, 255)
    root, prefix = Path(told["data_root"]), told["data_prefix"]
    pairs = []
    for photo in sorted((root / prefix["img_path"]).rglob(f"*{told['img_suffix']}")):
        name = str(photo.relative_to(root / prefix["img_path"]))[: -len(told["img_suffix"])]
        pairs.append((photo, root / prefix["seg_map_path"] / (name + told["seg_map_suffix"])))
    return pairs, known


def test_mmseg_by_the_lines_to_paste(made: Made) -> None:
    made.add("line\nbreak.jpg")  # nothing lists names
    result = made.export("mmseg", **VAL)
    found = 0
    for split, count in result.splits.items():
        pairs, known = segmentation_set(result.paste, split)
        assert len(pairs) == count
        assert known["num_classes"] == 4
        metainfo = known["metainfo"]
        assert isinstance(metainfo, dict)
        assert metainfo["classes"] == ("background", *CLASSES)
        assert metainfo["palette"] == palette()[:4].tolist()
        for photo, path in pairs:
            key = photo.relative_to(made.dest / "img_dir" / split).as_posix().removesuffix(".jpg")
            assert same_bytes(made, key, photo)
            assert (np.asarray(Image.open(path)) == made.masks[key]).all()
            found += 1
    assert found == 7


def test_mmseg_photos_share_a_suffix(made: Made) -> None:
    made.add("one.png")
    result = made.export("mmseg")
    assert "img_suffix='.jpg'" in result.paste
    assert len(segmentation_set(result.paste, "train")[0]) == 7
    only = Made(made.place / "only")
    only.add("one.png")
    only.record()
    assert "img_suffix='.png'" in only.export("mmseg").paste


def test_coco_by_pycocotools(made: Made) -> None:
    module = pytest.importorskip("pycocotools.coco")
    result = made.export("coco", **VAL)
    keys = {name: key for key, name in made.photos.items()}
    seen = set()
    for split, count in result.splits.items():
        file = made.dest / f"annotations/instances_{split}.json"
        data = module.COCO(str(file))
        listed = json.loads(file.read_text())["annotations"]
        numbers = [one["id"] for one in listed]
        again = data.loadRes(listed)  # read as results, which it numbers anew
        results = dict(zip(numbers, again.anns.values(), strict=True))
        assert len(data.imgs) == count
        assert {one["id"]: one["name"] for one in data.loadCats(data.getCatIds())} == dict(enumerate(CLASSES, start=1))
        for number, image in data.imgs.items():
            key = keys[image["file_name"]]
            truth = made.masks[key]
            assert same_bytes(made, key, made.dest / "images" / image["file_name"])
            assert (image["height"], image["width"]) == truth.shape
            mask = np.zeros_like(truth)
            for one in data.loadAnns(data.getAnnIds(imgIds=number, iscrowd=0)):
                region = data.annToMask(one) == 1
                rows, columns = np.nonzero(region)
                left, top, width, height = one["bbox"]
                assert one["area"] == region.sum()
                assert (left, top) == (columns.min(), rows.min())
                assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
                assert (again.annToMask(results[one["id"]]) == region).all()
                mask[region] = one["category_id"]
            assert (mask == np.where(truth == 255, 0, truth)).all()
            seen.add(key)
    assert seen == made.masks.keys()
    ignored = sum(int((mask == 255).sum()) for mask in made.masks.values())
    assert f"{ignored} ignored pixels were left out" in result.lost


def zipped(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with Image.open(io.BytesIO(archive.read(name))) as image:
        assert image.mode == "RGB"
        return np.asarray(image).astype(int) @ (1 << 16, 1 << 8, 1)


def test_cvat_as_its_documents_say(made: Made) -> None:
    result = made.export("cvat", **VAL)
    with zipfile.ZipFile(made.dest / "annotations.zip") as archive:
        assert archive.testzip() is None
        lines = [line for line in archive.read("labelmap.txt").decode().splitlines() if line[0] != "#"]
        labels = {}
        for place, line in enumerate(lines):
            name, colour, parts, actions = line.split(":")
            assert (parts, actions) == ("", "")
            red, green, blue = map(int, colour.split(","))
            labels[red << 16 | green << 8 | blue] = place
            assert name == ("background", *CLASSES)[place]
        assert labels[0] == 0
        names = []
        for split in result.splits:
            names += archive.read(f"ImageSets/Segmentation/{split}.txt").decode().splitlines()
        assert sorted(names) == sorted(made.masks)
        for name in names:
            truth = np.where(made.masks[name] == 255, 0, made.masks[name])
            classes = np.vectorize(labels.get)(zipped(archive, f"SegmentationClass/{name}.png"))
            assert (classes == truth).all()
            objects = zipped(archive, f"SegmentationObject/{name}.png")
            assert ((objects == 0) == (truth == 0)).all()
            assert len({(int(a), int(b)) for a, b in zip(objects.flat, truth.flat, strict=True)}) == len(
                set(truth.flat)
            )


def test_cvat_by_datumaro(made: Made, tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    made.export("cvat")
    with zipfile.ZipFile(made.dest / "annotations.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    data = datumaro.Dataset.import_from(str(tmp_path / "unpacked"), "voc_segmentation")
    labels = [label.name for label in data.categories()[datumaro.AnnotationType.label].items]
    seen = {}
    for item in data:
        truth = made.masks[item.id]
        mask = np.zeros(truth.shape, int)
        for one in item.annotations:
            mask[np.asarray(one.image) > 0] = 1 + CLASSES.index(labels[one.label])
        seen[item.id] = (mask == np.where(truth == 255, 0, truth)).all()
    assert seen == dict.fromkeys(made.masks, True)


def test_imagefolder_by_datasets(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    made.add("test/train.jpg")  # words that the library takes for names of splits
    result = made.export("imagefolder", **VAL)
    data = datasets.load_dataset(str(made.dest), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in data.items()} == {"train": 5, "validation": 2}
    assert list(result.splits.values()) == [5, 2]
    left = list(made.masks)
    for rows in data.values():
        assert set(rows.features) == {"image", "mask"}
        for row in rows:
            mask = np.asarray(row["mask"])
            photo = np.asarray(row["image"])
            (key,) = [
                key
                for key in left
                if np.array_equal(photo, np.asarray(Image.open(made.place / "photos" / made.photos[key])))
            ]
            assert (mask == made.masks[key]).all()
            left.remove(key)
    assert left == []


def test_imagefolder_as_its_documents_say(made: Made) -> None:
    made.export("imagefolder", **VAL)
    head = (made.dest / "README.md").read_text("utf-8").split("---\n")[1]
    assert re.findall(r"split: (\w+)\n    path: (\S+)", head) == [
        ("train", "data/train/**"),
        ("validation", "data/validation/**"),
    ]
    keys = {name: key for key, name in made.photos.items()}
    for split in ("train", "validation"):
        folder = made.dest / "data" / split
        for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            key = keys.pop(row["file_name"].removeprefix("images/"))
            assert same_bytes(made, key, folder / row["file_name"])
            assert (np.asarray(Image.open(folder / row["mask_file_name"])) == made.masks[key]).all()
    assert keys == {}


def filled(lines: list[str], size: tuple[int, int], whole: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """YOLO's labels as trainers rasterise them, by even-odd filling; `whole` makes pixels of coordinates."""
    mask = np.zeros(size, np.uint8)
    for line in lines:
        index, *numbers = line.split()
        points = np.array(numbers, np.float32).reshape(-1, 2)
        assert len(points) >= 3
        assert points.min() >= 0
        assert points.max() <= 1
        cv2.fillPoly(mask, [whole(points * np.float32(size[::-1])).astype(np.int32)], int(index) + 1)
    return mask


@pytest.mark.parametrize("whole", [np.trunc, np.round])
def test_yolo_as_its_documents_say(made: Made, whole: Callable[[np.ndarray], np.ndarray]) -> None:
    result = made.export("yolo", **VAL)
    settings = (made.dest / "data.yaml").read_text("utf-8")
    assert settings == 'train: images/train\nval: images/val\nnames:\n  0: "bar"\n  1: "disc"\n  2: "square"\n'
    for key, truth in made.masks.items():
        name = key.replace("/", "_")
        (label,) = (made.dest / "labels").glob(f"*/{name}.txt")
        assert same_bytes(made, key, made.dest / "images" / label.parent.name / f"{name}.jpg")
        shown = np.where(truth == 255, 0, truth)
        shown[-1, -3:] = np.where(shown[-1, -3:] == 1, 0, shown[-1, -3:])  # a line is no polygon
        assert (filled(label.read_text().splitlines(), truth.shape, whole) == shown).all()
    assert "12 pixels in parts too thin for a polygon were left out" in result.lost
    assert any("join 6 holes" in line for line in result.lost)
    assert any("objects, one per part" in line for line in result.lost)


def test_yolo_by_supervision(made: Made) -> None:
    supervision = pytest.importorskip("supervision")
    made.export("yolo")
    data = supervision.DetectionDataset.from_yolo(
        str(made.dest / "images/train"), str(made.dest / "labels/train"), str(made.dest / "data.yaml"), force_masks=True
    )
    assert data.classes == list(CLASSES)
    seen = set()
    for path, _, found in data:
        (key,) = [key for key in made.masks if key.replace("/", "_") == Path(path).stem]
        truth = made.masks[key]
        mask = np.zeros(truth.shape, int)
        for region, index in zip(found.mask if len(found) else [], found.class_id, strict=True):
            mask[region] = index + 1
        wrong = mask != np.where(truth == 255, 0, truth)
        assert not wrong[:-1].any()
        seen.add(key)
    assert seen == made.masks.keys()
