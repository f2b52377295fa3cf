"""csv, imagefolder, text: tables of tags, and what bad ones are told."""

from __future__ import annotations

import csv
import json
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from labels import read_labels

from pseudomask.data.labels import LabelTable
from pseudomask.errors import LabelError

PETS = ("cat", "dog", "cow")


def table(tmp_path: Path, text: str | bytes, name: str = "labels.csv", **options: object) -> LabelTable:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(path, **options)


def refused(tmp_path: Path, text: str | bytes, *, name: str = "labels.csv", **options: object) -> LabelError:
    with pytest.raises(LabelError) as caught:
        table(tmp_path, text, name, **options)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    return caught.value


def test_csv_sorts_classes_without_a_list(tmp_path: Path) -> None:
    found = table(tmp_path, "filename,labels\nb.jpg,dog;cat\na.jpg,cow\nc.jpg,\n")
    assert found.classes == ("cat", "cow", "dog")
    assert found.tags == {"b.jpg": (0, 2), "a.jpg": (1,), "c.jpg": ()}
    assert (found.format, found.source) == ("csv", str(tmp_path / "labels.csv"))
    assert found.notes == ("1 of 3 images without a class",)


def test_csv_keeps_a_given_class_order(tmp_path: Path) -> None:
    found = table(tmp_path, "filename,labels\nx.jpg,dog;cat;dog\n", classes=PETS)
    assert found.classes == PETS
    assert found.tags == {"x.jpg": (0, 1)}


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffilename,labels\r\nx.jpg,cat;dog\r\n",
        "File_Name,Tags\nx.jpg, cat ; dog \n",
        "image\tclasses\nx.jpg\tcat;dog\n",
        "labels,width,path\ncat;dog,640,x.jpg\n",
        'filename,labels\n"x.jpg","cat;dog"\n\n',
        "filename;labels\nx.jpg;cat,dog\n",
        "filename,cat,dog\nx.jpg,1,1\n",
        "filename,cat,dog\nx.jpg,1.0,True\n",
        "filename,labels\rx.jpg,cat;dog\r",
    ],
)
def test_spellings_of_one_table(tmp_path: Path, text: str) -> None:
    found = table(tmp_path, text)
    assert found.classes == ("cat", "dog")
    assert found.tags == {"x.jpg": (0, 1)}


def test_quoted_names_hold_commas_and_line_breaks(tmp_path: Path) -> None:
    found = table(tmp_path, 'filename,labels\n"a, b\nc.jpg",cat\ny.jpg,cat;cow\n')
    assert set(found.tags) == {"a, b\nc.jpg", "y.jpg"}
    error = refused(tmp_path, 'filename,labels\n"a\nb.jpg",cat\ny.jpg,cat,cow\n')
    assert error.line == 4


def test_tsv_by_extension(tmp_path: Path) -> None:
    assert table(tmp_path, "filename\tlabels\na,b.jpg\tcat\n", "l.tsv").tags == {"a,b.jpg": (0,)}


def test_one_hot_keeps_column_order_and_drops_background(tmp_path: Path) -> None:
    found = table(tmp_path, "filename,background,zebra,ant\nx.jpg,1,0,1\ny.jpg,1,1,1\nz.jpg,1,0,0\n")
    assert found.classes == ("zebra", "ant")
    assert found.tags == {"x.jpg": (1,), "y.jpg": (0, 1), "z.jpg": ()}
    assert any("background" in note for note in found.notes)


def test_background_among_names_is_left_out(tmp_path: Path) -> None:
    found = table(tmp_path, "filename,labels\nx.jpg,Background;cat\ny.jpg,background\n", classes=PETS)
    assert found.tags == {"x.jpg": (0,), "y.jpg": ()}


def test_whole_numbers(tmp_path: Path) -> None:
    assert table(tmp_path, "filename,labels\nx.jpg,1;3\n", classes=PETS).tags == {"x.jpg": (0, 2)}
    assert "0 is background" in str(refused(tmp_path, "filename,labels\nx.jpg,0\n", classes=PETS))
    assert "3 classes" in str(refused(tmp_path, "filename,labels\nx.jpg,4\n", classes=PETS))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "x.jpg cat\n"),
        ("metadata.jsonl", '{"file_name": "x.jpg", "label": "cat"}\n'),
        ("i.json", '{"images": [], "annotations": [], "categories": []}'),
    ],
)
def test_a_split_is_refused_where_there_are_none(tmp_path: Path, name: str, text: str) -> None:
    """Else --label-split would be without effect, and unnoticed."""
    assert "'val'" in str(refused(tmp_path, text, name=name, split="val"))


def test_split_column(tmp_path: Path) -> None:
    text = "filename,labels,split\nx.jpg,cat,train\ny.jpg,dog,val\n"
    assert table(tmp_path, text, split="val").tags == {"y.jpg": (0,)}
    assert len(table(tmp_path, text).tags) == 2
    assert "'split' column" in str(refused(tmp_path, "filename,labels\nx.jpg,cat\n", split="val"))


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        ("x.jpg,cat\ny.jpg,caat\n", 3, r"unknown class 'caat': did you mean 'cat'\?"),
        ("x.jpg,CAT\n", 2, r"unknown class 'CAT': did you mean 'cat'\?"),
        ("x.jpg,xylophone\n", 2, "unknown class 'xylophone'; the classes are cat, dog, cow"),
        ("x.jpg,cat|dog\n", 2, "separate class names with ';'"),
        ("x.jpg,cat,dog\n", 2, "3 columns, but the header has 2; separate"),
        ("x.jpg\n", 2, "1 column, but the header has 2"),
        ("x.jpg,-1\n", 2, "class index -1 is negative"),
        ("x.jpg,nan\n", 2, "'nan' is not a class"),
        ("x.jpg,NaN\n", 2, "'NaN' is not a class"),
        ("x.jpg,cat;;dog\n", 2, "a class name is empty"),
        (",cat\n", 2, "a file name is empty"),
        ("  ,cat\n", 2, "a file name is empty"),
        ("/etc/x.jpg,cat\n", 2, "absolute"),
        ("C:\\x.jpg,cat\n", 2, "absolute"),
        ("a/../../etc/x.jpg,cat\n", 2, "is outside the image folder"),
        ("..\\x.jpg,cat\n", 2, "is outside the image folder"),
        ("x.jpg,cat\nz.jpg,dog;cow\nx.jpg,dog\n", 4, r"listed twice with different tags \(first on line 2\)"),
        ('x.jpg,"cat\n', None, "malformed table"),
        ("", None, "a header but no rows"),
    ],
)
def test_bad_rows_name_their_line(tmp_path: Path, rows: str, line: int | None, message: str) -> None:
    error = refused(tmp_path, "filename,labels\n" + rows, classes=PETS)
    assert re.search(message, str(error))
    if line is not None:
        assert error.line == line
        assert f"labels.csv, line {line}: " in str(error)


def test_harmless_names_pass(tmp_path: Path) -> None:
    names = ["a..b.jpg", "~x.jpg", "a:b.jpg", "-x.jpg", "[b].jpg", "...jpg"]
    found = table(tmp_path, "filename,labels\n" + "".join(f"{name},cat\n" for name in names))
    assert list(found.tags) == names


def test_doubled_rows_with_equal_tags_are_one(tmp_path: Path) -> None:
    assert table(tmp_path, "filename,labels\nx.jpg,cat;dog\nx.jpg,dog;cat\n").tags == {"x.jpg": (0, 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x.jpg,cat\n", "first line must be a header"),
        ("filename\nx.jpg\n", "no label column"),
        ("filename,cat,cat\nx.jpg,1,0\n", "duplicate column 'cat'"),
        ("filename,cat,dog\nx.jpg,1,2\n", "'2' in column 'dog' is neither 0 nor 1"),
        ("filename,cat,dog\nx.jpg,nan,1\n", "'nan' in column 'cat'"),
        ("filename,cat,dog\nx.jpg,-1,1\ny.jpg,0,1\n", "'-1' in column 'cat'"),
        ("filename,labels\nx.jpg,\n", "names no class"),
        ("filename,labels\nx.jpg,cat\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in str(refused(tmp_path, text, format="csv"))


def test_lines_of_white_space_are_blank(tmp_path: Path) -> None:
    found = table(tmp_path, "\t\n\x1e\n \u2003\r\nx.jpg cat\n", "labels.txt", format="text")
    assert found.tags == {"x.jpg": (0,)}


def test_unknown_one_hot_column(tmp_path: Path) -> None:
    error = refused(tmp_path, "filename,cat,dgo\nx.jpg,1,0\n", classes=PETS)
    assert "did you mean 'dog'?" in str(error)
    assert error.line == 1


def test_more_classes_than_a_mask_can_hold(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg,c{i}\n" for i in range(65_535))
    assert "65,534" in str(refused(tmp_path, "filename,labels\n" + rows))
    assert len(table(tmp_path, "filename,labels\n" + rows[: rows.rindex("65534.jpg")]).classes) == 65_534


def test_three_hundred_classes_pass(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg,c{i:03d}\n" for i in range(300))
    found = table(tmp_path, "filename,labels\n" + rows)
    assert found.tags["299.jpg"] == (299,)


def test_given_classes_are_checked(tmp_path: Path) -> None:
    for classes in (["cat", "cat"], ["cat", ""], ["background", "cat"]):
        with pytest.raises(LabelError):
            table(tmp_path, "filename,labels\nx.jpg,cat\n", classes=classes)


def untraced(work: Callable[[], object]) -> float:
    """Seconds of processor time, without the coverage tool's hook on each line of it."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        sys.settrace(tracer)


def test_a_million_lines(tmp_path: Path) -> None:
    """Read within 5 s; where even the csv module alone needs more than a second, within 5 times that."""
    rng = random.Random(0)
    cells = [";".join(rng.sample([f"class{i}" for i in range(80)], rng.randint(0, 4))) for _ in range(5000)]
    lines = (f"{i:08d}.jpg,{cells[i % 5000]}\n" for i in range(1_000_000))
    path = tmp_path / "labels.csv"
    path.write_text("filename,labels\n" + "".join(lines))
    with path.open(newline="") as file:
        least = untraced(lambda: {row[0]: row[1].split(";") for row in csv.reader(file)})
    tables: list[LabelTable] = []
    assert untraced(lambda: tables.append(read_labels(path))) < 5 * max(1, least)
    found = tables[0]
    assert len(found.tags) == 1_000_000
    for i in (0, 4_999, 999_999):
        names = {found.classes[position] for position in found.tags[f"{i:08d}.jpg"]}
        assert names == set(filter(None, cells[i % 5000].split(";")))


def test_imagefolder_csv_and_jsonl_count_from_zero(tmp_path: Path) -> None:
    found = table(tmp_path, "file_name,label\nx.jpg,0\ny.jpg,2\n", "metadata.csv", classes=PETS)
    assert (found.format, found.tags) == ("imagefolder", {"x.jpg": (0,), "y.jpg": (2,)})
    rows = [{"file_name": "x.jpg", "label": "dog"}, {"file_name": "d/y.jpg", "labels": ["cat", "dog"]}]
    rows += [{"file_name": "z.jpg", "labels": []}, {"file_name": "w.jpg", "label": None}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metadata.csv").unlink()
    found = table(tmp_path, text, "metadata.jsonl")
    assert found.tags == {"x.jpg": (1,), "d/y.jpg": (0, 1), "z.jpg": (), "w.jpg": ()}
    assert read_labels(tmp_path).tags == found.tags


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "needs an object with a 'file_name'"),
        ('{"file_name": 3, "label": "cat"}', "needs an object with a 'file_name'"),
        ('{"file_name": "x.jpg"}', "neither 'label' nor 'labels'"),
        ('{"file_name": "x.jpg", "label": NaN}', "neither a name nor a whole number"),
        ('{"file_name": "x.jpg", "label": true}', "neither a name nor a whole number"),
        ('{"file_name": "x.jpg", "label": -2}', "negative"),
        ('{"file_name": "../x.jpg", "label": "cat"}', "is outside the image folder"),
    ],
)
def test_bad_json_lines(tmp_path: Path, row: str, message: str) -> None:
    good = '{"file_name": "a.jpg", "label": "cat"}\n\n'
    error = refused(tmp_path, good + row, name="metadata.jsonl")
    assert message in str(error)
    assert error.line == 3


def test_text_lines(tmp_path: Path) -> None:
    text = "\ufeff# mine\r\na/x.jpg cat  dog\r\n\r\ny.jpg\r\nmy photo.jpg\tpotted plant\tcat\r\n"
    found = table(tmp_path, text, "labels.txt")
    assert found.format == "text"
    assert found.classes == ("cat", "dog", "potted plant")
    assert found.tags == {"a/x.jpg": (0, 1), "y.jpg": (), "my photo.jpg": (0, 2)}


def test_bad_text_lines(tmp_path: Path) -> None:
    error = refused(tmp_path, "x.jpg cat\n\ny.jpg cst\n", name="l.txt", classes=PETS)
    assert error.line == 3
    assert "no line has a class" in str(refused(tmp_path, "cat\ndog\n", name="l.txt"))


@pytest.mark.shared
def test_real_table(shared: Path) -> None:
    found = read_labels(shared / "data" / "voc" / "labels.csv")
    assert len(found.tags) == 2318
    assert len(found.classes) == 20
    assert [found.classes[i] for i in found.tags["2007_000032.jpg"]] == ["aeroplane", "person"]
