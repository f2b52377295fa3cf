"""voc and voc-main."""

from __future__ import annotations

from pathlib import Path

import pytest
from labels import read_labels

from pseudomask.errors import LabelError


def annotate(folder: Path, stem: str, *objects: tuple[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    inner = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><part><name>head</name></part></object>"
        for name, difficult in objects
    )
    (folder / f"{stem}.xml").write_text(
        f"<annotation><filename>wrong.jpg</filename><name>no</name>{inner}</annotation>"
    )


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    annotate(root / "Annotations", "1", ("dog", 0), ("person", 1), ("dog", 0))
    annotate(root / "Annotations", "2", ("cat", 1))
    annotate(root / "Annotations", "3")
    split = root / "ImageSets" / "Segmentation"
    split.mkdir(parents=True)
    (split / "val.txt").write_text("1\n3\n")
    return root


def test_tags_are_object_names_and_never_parts(voc: Path) -> None:
    for path in (voc, voc.parent, voc / "Annotations"):
        table = read_labels(path)
        assert table.format == "voc"
        assert table.classes == ("cat", "dog", "person")
        assert table.tags == {"1": (1, 2), "2": (0,), "3": ()}


def test_difficult_objects_can_be_dropped(voc: Path) -> None:
    table = read_labels(voc, difficult="drop", classes=["cat", "dog", "person"])
    assert table.tags == {"1": (1,), "2": (), "3": ()}
    assert "2 objects marked difficult and dropped" in table.notes


def test_split(voc: Path) -> None:
    assert set(read_labels(voc, split="val").tags) == {"1", "3"}
    with pytest.raises(LabelError, match=r"neither ImageSets/Segmentation/none\.txt"):
        read_labels(voc, split="none")


def test_two_years_are_ambiguous(voc: Path) -> None:
    annotate(voc.parent / "VOC2007" / "Annotations", "1", ("dog", 0))
    with pytest.raises(LabelError, match="VOC2007, VOC2012; give one of them"):
        read_labels(voc.parent)


def test_unknown_class_names_the_annotation(voc: Path) -> None:
    with pytest.raises(LabelError, match=r"2\.xml: unknown class 'cat'"):
        read_labels(voc, classes=["dog", "person"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotation/>', "declares XML entities"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "entities"),
        ("<annotation>\n<object>", r"line 2: malformed XML"),
        ("", "malformed XML"),
        ("<svg/>", "not a VOC annotation"),
        ("<annotation>\n<object><difficult>0</difficult></object></annotation>", "line 2: an object has no name"),
    ],
)
def test_bad_xml(voc: Path, text: str, message: str) -> None:
    (voc / "Annotations" / "2.xml").write_text(text)
    with pytest.raises(LabelError, match=message) as caught:
        read_labels(voc)
    assert "2.xml" in str(caught.value)


@pytest.fixture
def main(tmp_path: Path) -> Path:
    folder = tmp_path / "VOC2012" / "ImageSets" / "Main"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("a\nb\n")
    (folder / "cat_train.txt").write_text("a  1\nb -1\n")
    (folder / "dog_train.txt").write_text("a  0\nb  1\n")
    (folder / "potted_plant_train.txt").write_text("a -1\r\nb -1\r\n")
    (folder / "cat_val.txt").write_text("c  1\n")
    (folder / "dog_val.txt").write_text("c  1\n")
    return folder


def test_main_lists(main: Path) -> None:
    for path in (main, main.parent.parent):
        table = read_labels(path)
        assert table.format == "voc-main"
        assert table.classes == ("cat", "dog", "potted_plant")
        assert table.tags == {"a": (0, 1), "b": (1,), "c": (0, 1)}
    assert read_labels(main, split="train", difficult="drop").tags == {"a": (0,), "b": (1,)}


def test_main_prefers_trainval_and_takes_other_splits_by_name(main: Path) -> None:
    (main / "cat_trainval.txt").write_text("z 1\n")
    (main / "cat_mine.txt").write_text("y 1\n")
    assert set(read_labels(main).tags) == {"z"}
    assert set(read_labels(main, split="mine").tags) == {"y"}
    with pytest.raises(LabelError, match=r"contains no <class>_yours\.txt"):
        read_labels(main, split="yours")


def test_bad_main_line(main: Path) -> None:
    (main / "cat_train.txt").write_text("a 1\nb 2\n")
    with pytest.raises(LabelError, match=r"cat_train\.txt, line 2: expected a name and 1, 0 or -1"):
        read_labels(main, split="train")


def test_main_class_must_be_known(main: Path) -> None:
    with pytest.raises(LabelError, match=r"potted_plant_train\.txt: unknown class"):
        read_labels(main, classes=["cat", "dog"], split="train")
