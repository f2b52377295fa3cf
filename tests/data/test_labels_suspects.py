"""Names that are probably no class: refused with the option that settles it, and settled by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from labels import read_labels
from PIL import Image

from pseudomask.config import LabelOptions
from pseudomask.data.collection import align_tags, collect, need_tags
from pseudomask.data.labels import LabelTable
from pseudomask.errors import LabelError


def tags(tmp_path: Path, cell: str, **options: Any) -> list[str]:
    """The classes of a photo with such a cell, beside photos of a cat and of a dog."""
    path = tmp_path / "l.csv"
    path.write_text(f"filename,labels\na.jpg,{cell}\nb.jpg,cat\nc.jpg,dog\n")
    table = read_labels(path, **options)
    assert table.tags["b.jpg"] == (table.classes.index("cat"),)
    return [table.classes[i] for i in table.tags["a.jpg"]] if "a.jpg" in table.tags else ["left out"]


@pytest.mark.parametrize(
    ("cell", "separator"),
    [
        ('"cat, dog"', ","),
        ("cat|dog", "|"),
        ("cat/dog", "/"),
        ("cat & dog", "&"),
        ("cat+dog", "+"),
        ("cat dog", " "),
        ("cat and dog", " and "),
        ("cat-dog", "-"),
        ('"{cat,dog}"', ","),
        ('"[cat, dog]"', ","),
        ("['cat' 'dog']", " "),
        ("\"'cat', 'dog'\"", ","),
    ],
)
def test_several_tags_in_a_cell(tmp_path: Path, cell: str, separator: str) -> None:
    with pytest.raises(LabelError) as caught:
        tags(tmp_path, cell)
    assert f"--tag-separator '{separator}'" in str(caught.value)
    assert "line 2" in str(caught.value)
    assert "--class-file" in str(caught.value)
    assert tags(tmp_path, cell, separator=separator) == ["cat", "dog"]


def test_tags_with_blanks_between_of_which_none_stands_alone(tmp_path: Path) -> None:
    """As in Kaggle's satellite photos."""
    path = tmp_path / "l.csv"
    path.write_text("filename,tags\na.jpg,haze primary\nb.jpg,clear primary\nc.jpg,agriculture clear primary water\n")
    with pytest.raises(LabelError, match=r"line 4: 'agriculture clear primary water' .*--tag-separator ' '"):
        read_labels(path)
    assert read_labels(path, separator=" ").classes == ("agriculture", "clear", "haze", "primary", "water")
    for names in (
        ["traffic light", "red traffic light", "traffic light pole", "polar bear", "brown bear"],
        ["red car", "blue car", "red truck", "blue truck", "light blue truck"],
    ):
        path.write_text("filename,tags\n" + "".join(f"{i}.jpg,{name}\n" for i, name in enumerate(names)))
        assert read_labels(path).classes == tuple(sorted(names))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("\"['cat', 'dog']\"", ["cat", "dog"]),
        ('"[""dog"", ""cat""]"', ["cat", "dog"]),
        ("\"('cat', 'dog',)\"", ["cat", "dog"]),
        ("[]", []),
        ("cat;dog;", ["cat", "dog"]),
        ('"cat\ndog"', ["cat", "dog"]),
        ("\u00a0cat\u200b", ["cat"]),
        ("\ufeffcat", ["cat"]),
        ("\u201ccat\u201d", ["cat"]),
        ("potted plant", ["potted plant"]),
        ("train", ["train"]),
        ("cats", ["cats"]),
        ("C++", ["C++"]),
        ("n01440764", ["n01440764"]),
    ],
)
def test_cells_that_can_mean_one_thing_only(tmp_path: Path, cell: str, expected: list[str]) -> None:
    assert tags(tmp_path, cell) == expected


def test_what_was_taken_for_a_list_is_told(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("filename,labels\na.jpg,\"['cat', 'dog']\"\n")
    assert any("list" in note for note in read_labels(path).notes)


@pytest.mark.parametrize("cell", ["NA", "N/A", "#N/A", "None", "null", "nan", "-", "?", "unknown", "<NA>"])
def test_missing_values(tmp_path: Path, cell: str) -> None:
    with pytest.raises(LabelError, match=r"not a class.*--no-class .* --skip-tag .*--class-file"):
        tags(tmp_path, cell)
    with pytest.raises(LabelError, match="not a class"):
        tags(tmp_path, cell, classes=["cat", "dog"])
    assert tags(tmp_path, cell, no_class=[cell]) == []
    assert tags(tmp_path, cell, skip_tag=[cell]) == ["left out"]
    assert tags(tmp_path, cell, classes=["cat", "dog", cell]) == [cell]


def test_all_missing_values_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("filename,labels\na.jpg,NA\nb.jpg,N/A\nc.jpg,cat\n")
    with pytest.raises(LabelError, match="--no-class NA,N/A"):
        read_labels(path)


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("0", "is a number"),
        ("1.0", "is a number"),
        ("TRUE", "yes or no"),
        ("cat:0.93", "score"),
        ("cat (0.9)", "score"),
        ("http://x.y/z", "URL"),
        ("x/y.jpg", "file"),
        ("2020-01-02", "date"),
        ("A cat on a mat.", "sentence"),
        ("/m/01yrx", "Open Images"),
        ("val", "split"),
        ("Testing", "split"),
        ("__MACOSX", "system"),
        ("9" * 400, "too long"),
    ],
)
def test_what_is_no_name(tmp_path: Path, cell: str, why: str) -> None:
    with pytest.raises(LabelError, match=rf"line 2: .*{why}.*--class-file"):
        tags(tmp_path, cell)
    assert tags(tmp_path, cell, classes=["cat", "dog", cell]) == [cell]


@pytest.mark.parametrize("cell", ["Cat", "CAT", "c_at", "cat (2)", "\uff43at"])
def test_twins(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(f"filename,labels\nb.jpg,cat\na.jpg,{cell}\n")
    with pytest.raises(LabelError, match=r"line 3: .*--merge-names.*--class-file"):
        read_labels(path)
    merged = read_labels(path, merge_names=True)
    assert (merged.classes, merged.tags) == (("cat",), {"b.jpg": (0,), "a.jpg": (0,)})
    assert read_labels(path, merge_names=True, classes=["dog", "cat"]).tags["a.jpg"] == (1,)
    assert len(read_labels(path, classes=["cat", cell]).classes) == 2
    with pytest.raises(LabelError, match=r"unknown class .*--merge-names"):
        read_labels(path, classes=["cat"])


def test_composed_and_decomposed_names_are_one_class(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("filename,labels\na.jpg,caf\u00e9\nb.jpg,cafe\u0301\n")
    assert read_labels(path).classes == ("caf\u00e9",)


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(folder / name)
    return folder


def found(table: LabelTable) -> dict[str, list[str]]:
    return {name: [table.classes[i] for i in one] for name, one in table.tags.items()}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Training/cat/a.jpg"], "splits.*--class-file"),
        (["train2017/a.jpg", "val2017/b.jpg"], "splits"),
        (["pets/cat/a.jpg", "pets/dog/b.jpg"], "'pets' or 'cat'.*--class-file.*--labels"),
        (["images/a.jpg", "masks/b.jpg"], "parts of a data set"),
        (["cat/a.jpg", "masks/b.jpg"], "--skip-tag masks"),
        (["cat/a.jpg", "__MACOSX/b.jpg"], "--skip-tag __MACOSX"),
        (["cat/a.jpg", "$RECYCLE.BIN/b.jpg"], r"--skip-tag '\$RECYCLE.BIN'"),
        (["cat/a.jpg", "Train/b.jpg", "test/c.jpg"], "--skip-tag Train,test"),
        (["cat/a.jpg", "Cat/b.jpg"], "--merge-names"),
        (["0/a.jpg", "1/b.jpg"], "number.*--class-file"),
        (["cat/a.jpg", "NA/b.jpg"], "--skip-tag NA"),
        (["cat/a.jpg", "unsorted/b.jpg"], "--skip-tag unsorted"),
        (["cat/a.jpg", "New folder/b.jpg"], "--skip-tag 'New folder'"),
    ],
)
def test_folders_that_are_no_classes(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(LabelError, match=words):
        read_labels(tree(tmp_path, *names))


def test_folders_once_settled(tmp_path: Path) -> None:
    nested = tree(tmp_path / "1", "Training/cat/a.jpg", "Testing/dog/b.jpg")
    assert found(read_labels(nested, classes=["cat", "dog"])) == {
        "Training/cat/a.jpg": ["cat"],
        "Testing/dog/b.jpg": ["dog"],
    }
    pets = tree(tmp_path / "2", "pets/cat/a.jpg", "pets/dog/b.jpg")
    assert found(read_labels(pets, classes=["pets"])) == {"pets/cat/a.jpg": ["pets"], "pets/dog/b.jpg": ["pets"]}
    mac = tree(tmp_path / "3", "cat/a.jpg", "__MACOSX/b.jpg", "none/c.jpg")
    settled = read_labels(mac, skip_tag=["__MACOSX"], no_class=["none"])
    assert found(settled) == {"cat/a.jpg": ["cat"], "none/c.jpg": []}
    unpacked = tree(tmp_path / "5", "cat/cat/a.jpg", "dog/dog/b.jpg")
    assert read_labels(unpacked).classes == ("cat", "dog")
    fine = tree(tmp_path / "4", "train/a.jpg", "mask/b.jpg", "no_mask/c.jpg")
    assert read_labels(fine).classes == ("mask", "no_mask", "train")


def test_each_photo_its_own_class(tmp_path: Path) -> None:
    names = [f"p{i}" for i in range(25)]
    photos = tree(tmp_path / "photos", *(f"{name}.jpg" for name in names))
    labels = tmp_path / "l.csv"
    labels.write_text("filename,labels\n" + "".join(f"{name}.jpg,class {name}\n" for name in names))
    with pytest.raises(LabelError, match=r"its own class.*--label-column"):
        need_tags(collect(photos, LabelOptions(labels=labels)))
    (tmp_path / "classes.txt").write_text("".join(f"class {name}\n" for name in names))
    given = collect(photos, LabelOptions(labels=labels, class_file=tmp_path / "classes.txt"))
    assert len(need_tags(given).items) == 25


def test_options_reach_the_reader_and_the_weights(tmp_path: Path) -> None:
    photos = tree(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    labels = tmp_path / "l.csv"
    labels.write_text('file,kind\na.jpg,"Cat, dog"\nb.jpg,none\nc.jpg,NA\n')
    options = LabelOptions(
        labels=labels, tag_separator=",", label_column="kind", no_class="none", skip_tag="NA,?", merge_names=True
    )
    collected = align_tags(collect(photos, options), ("dog", "cat"))
    assert (collected.tags, collected.untagged) == ({"a": (0, 1), "b": ()}, ("c",))


def test_voc_and_coco_names_are_judged_too(tmp_path: Path) -> None:
    for i, name in enumerate(("cat", "Cat")):
        (tmp_path / f"{i}.xml").write_text(f"<annotation><object><name>{name}</name></object></annotation>")
    with pytest.raises(LabelError, match="--merge-names"):
        read_labels(tmp_path)
    assert read_labels(tmp_path, merge_names=True).tags == {"0": (0,), "1": (0,)}
    (tmp_path / "c.json").write_text(
        '{"images": [{"id": 1, "file_name": "a"}], "annotations": [], "categories": [{"id": 3, "name": "baseball"},'
        '{"id": 4, "name": "glove"}, {"id": 5, "name": "baseball glove"}, {"id": 6, "name": "Cabinet/shelf"}]}'
    )
    assert len(read_labels(tmp_path / "c.json").classes) == 4
