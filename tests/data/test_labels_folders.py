"""folders, per-image, pickles, class files, and telling formats apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from labels import read_labels
from PIL import Image

from pseudomask.data.labels import FORMATS, read_classes
from pseudomask.errors import LabelError, UsageError


def photos(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(file)


def test_one_folder_a_class(tmp_path: Path) -> None:
    photos(tmp_path, "dog/a.jpg", "cat/b.png", "cat/deep/c.jpg", "loose.jpg")
    (tmp_path / "empty").mkdir()
    table = read_labels(tmp_path)
    assert table.format == "folders"
    assert table.classes == ("cat", "dog")
    assert table.tags == {"dog/a.jpg": (1,), "cat/b.png": (0,), "cat/deep/c.jpg": (0,)}
    assert "1 image outside the class folders, without tags" in table.notes
    assert "folders without images: empty" in table.notes


def test_bad_class_folders(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no image found"):
        read_labels(tmp_path, format="folders")
    photos(tmp_path, "a.jpg")
    with pytest.raises(LabelError, match="no subfolder with images"):
        read_labels(tmp_path, format="folders")
    (tmp_path / "a.jpg").unlink()
    photos(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg")
    with pytest.raises(LabelError, match="subfolders are splits, not classes"):
        read_labels(tmp_path)
    assert read_labels(tmp_path / "train").tags == {"cat/a.jpg": (0,)}
    with pytest.raises(LabelError, match="unknown class 'cat'"):
        read_labels(tmp_path / "train", classes=["dog"])


def test_per_image_files(tmp_path: Path) -> None:
    photos(tmp_path, "a.jpg", "d/b.jpg", "c.jpg")
    flags = {"flags": {"cat": True, "dog": False}, "shapes": []}
    shapes = {"shapes": [{"label": "dog"}, {"label": "cow"}, {"label": "dog"}], "flags": {}}
    (tmp_path / "a.json").write_text(json.dumps(flags))
    (tmp_path / "d" / "b.json").write_text(json.dumps(shapes))
    (tmp_path / "c.txt").write_text("\ufeffcow\r\n\r\ncat\r\n")
    (tmp_path / "train.txt").write_text("a.jpg\n")
    table = read_labels(tmp_path)
    assert table.format == "per-image"
    assert table.classes == ("cat", "cow", "dog")
    assert table.tags == {"a": (0,), "d/b": (1, 2), "c": (0, 1)}


def test_per_image_files_apart_from_the_photos(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("cat\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert read_labels(tmp_path).tags == {"a": (0,)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "cat\ncot\n", r"a\.txt, line 2: unknown class 'cot': did you mean 'cat'\?"),
        ("a.txt", "cat\n0 0.5 0.5 0.25 0.25\n", r"line 2: contains YOLO boxes"),
        ("a.json", "{", r"a\.json, line 1: not JSON"),
        ("a.json", "[]", "not a labelme file"),
        ("a.json", '{"flags": []}', None),
        ("a.json", '{"flags": [1]}', "'flags' is not an object"),
        ("a.json", '{"shapes": [{}]}', "a shape has no label"),
        ("a.json", "[" * 200_000, "invalid JSON"),
    ],
)
def test_bad_per_image_files(tmp_path: Path, name: str, text: str, message: str | None) -> None:
    (tmp_path / name).write_text(text)
    if message is None:
        assert read_labels(tmp_path, classes=["cat"]).tags == {"a": ()}
        return
    with pytest.raises(LabelError, match=message):
        read_labels(tmp_path, classes=["cat"])


def test_one_image_two_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("cat\n")
    (tmp_path / "a.json").write_text('{"flags": {"cat": true}}')
    assert read_labels(tmp_path).tags == {"a": (0,)}
    (tmp_path / "a.txt").write_text("dog\n")
    with pytest.raises(LabelError, match="a is listed twice with different tags"):
        read_labels(tmp_path)


class Bomb:
    """Unpickling it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["cls_labels.npy", "labels.txt", "labels"])
def test_pickles_are_refused_and_never_run(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        np.save(file, np.array({"a": Bomb(tmp_path / "trace")}, dtype=object))
    with pytest.raises(LabelError, match=r"refused; .*convert it once: python -P -c") as caught:
        read_labels(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "name", ["cls_labels.npy", "$(touch PWNED).npy", "`touch PWNED`;touch PWNED.npy", "a\"'\n; touch PWNED #.npy"]
)
def test_the_told_conversion_works(tmp_path: Path, name: str) -> None:
    """Whatever the file's name, and whatever lies beside it."""
    import subprocess
    import sys

    (tmp_path / "numpy.py").write_text("open('PWNED', 'w')")
    labels = {"2007_000032": np.array([1.0, 0.0, 1.0]), "2007_000039": np.zeros(3)}
    np.save(tmp_path / name, np.array(labels, dtype=object))
    with pytest.raises(LabelError) as caught:
        read_labels(tmp_path / name)
    command = str(caught.value).split("convert it once: ")[1].replace("python", sys.executable, 1)
    assert "\n" not in command
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert not (tmp_path / "PWNED").exists()
    table = read_labels(tmp_path / "labels.csv", classes=["aeroplane", "bicycle", "bird"])
    assert table.tags == {"2007_000032": (0, 2), "2007_000039": ()}


def test_class_file(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    for first in ("", "background\r\n", "__background__\n", "_background_\n", "BG\n"):
        file.write_bytes(b"\xef\xbb\xbf" + first.encode() + b"cat\r\npotted plant \r\n\r\n")
        assert read_classes(file) == ("cat", "potted plant")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no class"),
        ("background\n", "names no class"),
        ("cat\n\ndog\n", "line 2: a class name is empty"),
        ("background\ncat\ndog\ncat\n", "line 4: class 'cat' is a duplicate of line 2"),
        ("cat\nbackground\n", "line 2: background must be on the first line"),
        ("cat\0\n", "line 1: not a text file"),
        ("\n".join(map(str, range(65_535))), "65,535 classes"),
    ],
)
def test_bad_class_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "classes.txt"
    file.write_text(text)
    with pytest.raises(LabelError, match=message):
        read_classes(file)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no such label file"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(LabelError, match="cannot be read"):
        read_classes(tmp_path / "none.txt")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\0\1\2\3", None])
def test_unclear_formats_list_what_is_known(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path
    if content is not None:
        path = tmp_path / "labels"
        path.write_bytes(content)
    with pytest.raises(LabelError, match="cannot detect the label format") as caught:
        read_labels(path)
    for name in FORMATS:
        assert name in str(caught.value)


def test_forced_formats(tmp_path: Path) -> None:
    file = tmp_path / "labels.dat"
    file.write_text("filename,labels\nx.jpg,cat\n")
    assert read_labels(file).format == "csv"
    with pytest.raises(LabelError, match="no line has a class"):
        read_labels(file, format="text")
    with pytest.raises(UsageError, match="unknown label format 'coc': did you mean 'coco'"):
        read_labels(file, format="coc")
    with pytest.raises(LabelError, match=r"is a file, but .* 'folders'"):
        read_labels(file, format="folders")
    with pytest.raises(LabelError, match=r"is a folder, but .* 'csv'"):
        read_labels(tmp_path, format="csv")
