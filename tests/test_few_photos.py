"""The benchmark behind docs/how-many-photos.md draws, keeps and measures what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import NARROW

from benchmarks.few_photos import Data, Row, iou, keeping, shown, subset, table
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.backbones.backbone import Backbone

NAMES = ("background", "cat", "dog", "hat")


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Twelve photos of cats, twelve of dogs and twelve of hats; the first of each has a mask, the second is in val."""
    tags = {f"{name}{i}": {name} for name in NAMES[1:] for i in range(12)}
    (tmp_path / "ImageSets").mkdir()
    first, second = [[key for key in tags if key[3:] == one] for one in ("0", "1")]
    for split, keys in {"train": first, "val": second, "train_aug": [*tags]}.items():
        (tmp_path / "ImageSets" / f"{split}.txt").write_text("\n".join(keys))
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    lines = [f"{key}.jpg,{';'.join(own)}" for key, own in tags.items()]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,labels", *lines]))
    return Data.read(tmp_path)


def test_photos_a_class_and_as_many_without(data: Data) -> None:
    row = Row.parse("dog+cat:3:1:lda")
    assert row == (("cat", "dog"), 3, 1, "lda")
    drawn = subset(data, row)
    assert [sum(key.startswith(name) for key in drawn) for name in NAMES[1:]] == [3, 3, 3]
    assert not {*drawn} & {*data.split("train"), *data.split("val")}
    assert {*drawn} < {*subset(data, row._replace(photos=5))}
    assert drawn != subset(data, row._replace(seed=2))


def test_only_photos_that_show_a_class_are_measured(data: Data) -> None:
    row = Row.parse("cat+dog:3:1:lda")
    assert shown(data, row, "train", 2) == ["cat0", "dog0"]
    assert shown(data, row, "train", 1) == ["cat0"]


def test_tags_of_other_classes_are_left_out(data: Data, tmp_path: Path) -> None:
    data.write(tmp_path, "photos", ["cat3", "hat4"], ("cat", "dog"))
    assert (tmp_path / "photos.csv").read_text().splitlines() == ["filename,labels", "cat3.jpg,cat", "hat4.jpg,"]
    assert (tmp_path / "photos.txt").read_text().split() == ["cat3", "hat4"]


def test_iou_of_a_subset_of_the_classes(data: Data, tmp_path: Path) -> None:
    """In the truth dog is 2 and hat 3, in the masks dog is 1: half of the dog is found, and the hat is background."""
    (data.folder / "SegmentationClass").mkdir()
    truth = np.array([[2, 2, 3, 255]], np.uint8)
    Image.fromarray(truth).save(data.folder / "SegmentationClass" / "dog0.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.array([[1, 0, 0, 1]], np.uint8)).save(tmp_path / "masks" / "dog0.png")
    found = iou(data, Row.parse("dog:3:1:lda"), ["dog0"], tmp_path / "masks", ("dog",))
    assert found == {"mean": 50.0, "dog": 50.0, "photos": 1}


def test_a_line_has_all_seeds() -> None:
    done = {
        "dog:0:0:bundled": {"val": {"mean": 80.0}},
        "dog:20:1:lda": {"train": {"mean": 52.0}, "verdicts": {"dog": "doubtful"}},
        "dog:20:0:lda": {"train": {"mean": 50.04}, "val": {"mean": 61.0}, "verdicts": {"dog": "doubtful"}},
        "cat+dog:20:0:lda": {"val": {"mean": 7.0}},
    }
    assert table(done).splitlines()[2:] == [
        "| cat, dog | 20 | lda |  | 7.0 |  |  |  |",
        "| dog | 20 | lda | 50.0 / 52.0 | 61.0 |  |  | doubtful |",
        "| dog | 0 | bundled |  | 80.0 |  |  |  |",
    ]


def test_kept_features_are_those_of_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone, x = make_backbone(NARROW).eval(), torch.rand(1, 3, 40, 48)
    with torch.no_grad():
        wanted = backbone(x)
        with keeping(tmp_path):
            first, again, last = backbone(x), backbone(x), backbone(x, pyramid=False)
            assert len(list(tmp_path.iterdir())) == 1
            other = make_backbone(NARROW).eval()
            changed = other(x)
        assert torch.equal(changed.last, other(x).last)
    for found in (first, again):
        assert (found.size, found.strides) == (wanted.size, wanted.strides)
        assert all(torch.equal(a, b) for a, b in zip(found.outputs, wanted.outputs, strict=True))
    assert len(last.outputs) == 1
    assert torch.equal(last.last, wanted.last)
    assert not torch.equal(changed.last, wanted.last)
    assert Backbone.forward.__qualname__ == "Backbone.forward"
