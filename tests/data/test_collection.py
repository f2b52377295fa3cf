"""Photos and tags brought together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pseudomask.config import LabelOptions
from pseudomask.data.collection import Collection, align_tags, collect, need_tags
from pseudomask.data.pixels import IMAGENET, resize, with_long_side
from pseudomask.errors import LabelError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    (photos / "x").mkdir(parents=True)
    for name in ("a", "b", "c", "x/d"):
        Image.new("RGB", (4, 4)).save(photos / f"{name}.png")
    (tmp_path / "l.csv").write_text("filename,labels\na.png,cat\nb.png,dog;cat\nx/d.png,\nghost.png,dog\n")
    return photos


def options(folder: Path, **more: object) -> LabelOptions:
    return replace(LabelOptions(labels=folder.parent / "l.csv"), **more)  # type: ignore[arg-type]


def test_tags_by_key_and_what_has_no_partner(folder: Path) -> None:
    found = collect(folder, options(folder))
    assert [i.key for i in found.items] == ["a", "b", "c", "x/d"]
    assert found.classes == ("cat", "dog")
    assert found.tags == {"a": (0,), "b": (0, 1), "x/d": ()}
    assert (found.untagged, found.orphans, found.labels) == (("c",), ("ghost.png",), "l.csv (csv)")


def test_a_list_and_a_limit(folder: Path) -> None:
    (folder.parent / "list").write_text("x/d\nc\na\n")
    found = collect(folder, options(folder, list=folder.parent / "list"))
    assert [i.key for i in found.items] == ["x/d", "c", "a"]
    assert found.tags == {"a": (0,), "x/d": ()}
    assert (found.untagged, found.orphans) == (("c",), ("ghost.png",)), "b's row is no orphan"
    assert [i.key for i in collect(folder, options(folder, limit=2)).items] == ["a", "b"]


def test_no_labels(folder: Path) -> None:
    found = collect(folder, options(folder, labels=None))
    assert (found.classes, found.tags, found.labels_hash) == ((), None, "none")
    (folder.parent / "classes").write_text("background\ncow\n")
    with_names = collect(folder, options(folder, labels=None, class_file=folder.parent / "classes"))
    assert (with_names.classes, with_names.tags) == (("cow",), None)
    with pytest.raises(UsageError, match="training needs tags; give --labels FILE"):
        need_tags(found)


def test_align_tags_moves_positions(folder: Path) -> None:
    found = align_tags(collect(folder, options(folder)), ("dog", "horse", "cat"))
    assert found.classes == ("dog", "horse", "cat")
    assert found.tags == {"a": (2,), "b": (0, 2), "x/d": ()}
    assert align_tags(found, found.classes) == found
    nothing = align_tags(collect(folder, options(folder, labels=None)), ("dog",))
    assert (nothing.classes, nothing.tags) == (("dog",), None)


def test_align_tags_refuses_unknown_classes_only_where_they_are_used(folder: Path) -> None:
    with pytest.raises(LabelError, match=r"the weights have no class 'dog'.*they have cat, cow"):
        align_tags(collect(folder, options(folder)), ("cat", "cow"))
    found = align_tags(collect(folder, options(folder, limit=1)), ("cow", "cat"))
    assert found.tags == {"a": (1,)}


def test_need_tags(folder: Path) -> None:
    found = need_tags(collect(folder, options(folder)))
    assert [i.key for i in found.items] == ["a", "b", "x/d"]
    (folder.parent / "list").write_text("x/d\nc\n")
    with pytest.raises(LabelError, match="no photo has a tag"):
        need_tags(collect(folder, options(folder, list=folder.parent / "list")))


def test_hashes_follow_what_they_stand_for(folder: Path) -> None:
    one = collect(folder, options(folder))
    assert (one.images_hash, one.labels_hash) == (
        collect(folder, options(folder)).images_hash,
        collect(folder, options(folder)).labels_hash,
    )
    assert one.images_hash != one.subset(one.items[1:]).images_hash
    assert one.tags is not None
    changed: list[Collection] = [
        replace(one, tags=one.tags | {"a": (1,)}),
        replace(one, tags=one.tags | {"c": ()}),
        replace(one, classes=("cat", "wolf")),
    ]
    assert len({c.labels_hash for c in [one, *changed]}) == 4


@pytest.mark.parametrize("size", [(7, 9), (24, 40), (30, 33), (1, 1), (40, 3)])
def test_resize_is_pillows_bicubic_to_rounding(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 20, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 1.5)
    found = resize(image, size)
    expected = np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))
    assert (found.shape, found.dtype) == ((*size, 3), np.uint8)
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_resize_leaves_the_right_size_alone() -> None:
    image = np.zeros((12, 20, 3), np.uint8)
    assert resize(image, (12, 20)) is image


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_resize_of_lines_and_points(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 200, np.uint8)
    for size in ((1, 1), (3, 5), (64, 64)):
        assert (resize(image, size) == 200).all()


def test_with_long_side() -> None:
    assert [with_long_side(s, 10) for s in ((20, 10), (10, 20), (5, 5), (1, 1000))] == [
        (10, 5),
        (5, 10),
        (10, 10),
        (1, 10),
    ]


def test_normalise() -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 4, 3), dtype=np.uint8)
    found = IMAGENET.normalise(image)
    assert (found.shape, found.dtype) == ((3, 3, 4), np.float32)
    expected = ((image.astype(np.float64) / 255 - IMAGENET.mean) / IMAGENET.std).transpose(2, 0, 1)
    assert np.allclose(found, expected, atol=1e-5)
