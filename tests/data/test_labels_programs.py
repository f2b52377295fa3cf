"""Tables and files as spreadsheets, pandas and labelling tools write them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from labels import read_labels

from pseudomask.errors import LabelError


def read(tmp_path: Path, text: str | bytes, name: str = "l.csv", **options: Any) -> dict[str, list[str]]:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_labels(path, **options)
    return {name: [table.classes[i] for i in tags] for name, tags in table.tags.items()}


@pytest.mark.parametrize(
    "text",
    [
        "filename,cat,dog\na.jpg,TRUE,FALSE\nb.jpg,FALSE,TRUE\n",
        "filename,cat,dog\na.jpg,yes,no\nb.jpg,no,yes\n",
        "filename,cat,dog\na.jpg,x,\nb.jpg,,x\n",
        "filename;cat;dog\na.jpg;1,0;0,0\nb.jpg;0,0;1,0\n",
        "filename;cat;dog\na.jpg;WAHR;FALSCH\nb.jpg;FALSCH;WAHR\n",
        "filename, cat, dog\na.jpg, 1, 0\nb.jpg, 0, 1\n",
        "Unnamed: 0,filename,cat,dog\n0,a.jpg,1,0\n1,b.jpg,0,1\n",
        ",filename,cat,dog\n0,a.jpg,1,0\n1,b.jpg,0,1\n",
        "filename,width,height,cat,dog\na.jpg,640,480,1,0\nb.jpg,640,480,0,1\n",
        "sep=;\nfilename;labels\na.jpg;cat\nb.jpg;dog\n",
        '"sep=,"\r\nfilename,labels\r\na.jpg,cat\r\nb.jpg,dog\r\n',
        "filename,labels,\na.jpg,cat,\nb.jpg,dog,\n",
        "filename,labels\na.jpg,cat,\nb.jpg,dog\n",
        "filename,labels,\na.jpg,cat\nb.jpg,dog\n",
        ",filename,labels\n0,a.jpg,cat\n1,b.jpg,dog\n",
        "filename|labels\na.jpg|cat\nb.jpg|dog\n",
        "id,label\na.jpg,cat\nb.jpg,dog\n",
        "ImageID,LabelName,Confidence\na.jpg,cat,1\na.jpg,dog,0\nb.jpg,dog,1\n",
        "image_id,cat,dog\na.jpg,1,-1\nb.jpg,-1,1\n",
        "filename,labels,\r\na.jpg,cat,\r\n,,\r\nb.jpg,dog,\r\n,,\r\n",
    ],
)
def test_one_table_in_many_dialects(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == {"a.jpg": ["cat"], "b.jpg": ["dog"]}


def test_one_row_a_tag(tmp_path: Path) -> None:
    text = "filename,width,class,xmin\na.jpg,1,cat,2\na.jpg,1,dog,3\nb.jpg,1,dog,3\na.jpg,1,cat,9\n"
    assert read(tmp_path, text) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}
    assert any("one tag per row" in note for note in read_labels(tmp_path / "l.csv").notes)
    with pytest.raises(LabelError, match=r"line 4: a\.jpg is listed twice with different tags"):
        read(tmp_path, "filename,labels\na.jpg,cat\nb.jpg,cat;dog\na.jpg,dog\n")
    with pytest.raises(LabelError, match=r"line 3: a\.jpg is listed twice"):
        read(tmp_path, "filename,labels\na.jpg,cat\na.jpg,\n")


def test_paths_of_this_and_of_another_machine(tmp_path: Path) -> None:
    images = tmp_path / "images"
    text = f"filename,labels\n{images}/d/a.jpg,cat\nC:\\data\\images\\b.jpg,cat\nimages/../images/c.jpg,cat\n"
    assert list(read(tmp_path, text, images=images)) == ["d/a.jpg", "b.jpg", "c.jpg"]
    for other in ("/etc/a.jpg", "D:\\other\\a.jpg", "../a.jpg", "/data/images/../../a.jpg"):
        with pytest.raises(LabelError, match="relative to"):
            read(tmp_path, f"filename,labels\n{other},cat\n", images=images)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("filename,label,class\na.jpg,cat,3\n", {"label_column": ["label"]}, "--label-column label"),
        ("filename,species\na.jpg,cat\n", {"label_column": ["species"]}, "--label-column species"),
        ("filename,age,cat,dog\na.jpg,64,1,0\n", {"label_column": ["cat", "dog"]}, "--label-column cat,dog"),
        ("filename,name\na.jpg,cat\n", {"label_column": ["name"]}, "--label-column"),
        ("no,labels\na.jpg,cat\n", {"image_column": "no"}, "--image-column"),
        ("image_id,label,score\na.jpg,cat,0.7\n", {"label_column": ["label"]}, "neither 0 nor 1.*--label-column"),
    ],
)
def test_columns_that_cannot_be_known(tmp_path: Path, text: str, options: Any, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        read(tmp_path, text)
    assert read(tmp_path, text, **options) == {"a.jpg": ["cat"]}


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"no column 'lable' \(--label-column\): did you mean 'labels'"):
        read(tmp_path, "filename,labels\na.jpg,cat\n", label_column=["lable"])
    with pytest.raises(LabelError, match="not a table"):
        read(tmp_path, "a.jpg cat\n", "l.txt", label_column=["lable"])


STUDIO_ROW = "image,id,choice,annotator,annotation_id,created_at,updated_at,lead_time\n/data/a.jpg,1,cat,1,2,3,4,5\n"
STUDIO = {"id": 1, "annotations": [{"result": []}], "data": {"image": "x"}}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("l.csv", STUDIO_ROW, "Label Studio"),
        ("l.json", json.dumps(STUDIO), "Label Studio"),
        ("l.xml", "<annotations><track id='0' label='cat'></track></annotations>", "line 1: has tracks"),
        ("l.dcm", b"\0" * 128 + b"DICM", "DICOM"),
        ("l.csv", "filename,file_attributes,region_attributes\na.jpg,{},{}\n", "VIA"),
        ("l.json", '{"a.jpg1": {"filename": "a.jpg", "regions": []}}', "VIA"),
        ("l.json", '[{"image_id": 1, "category_id": 3, "score": 0.4}]', "results"),
        ("l.json", '{"images": [], "categories": []}', "without 'annotations'"),
        ("l.json", '{"images": [], "annotations": [{"image_id": 1, "caption": "x"}]}', "captions"),
        ("l.csv", b"PK\x03\x04....[Content_Types].xml", "Excel.*CSV UTF-8"),
        ("l.csv", b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "OpenDocument"),
        ("l.csv", b"PAR1....", "Parquet"),
        ("l.json", "[1]", "not a COCO file.*not a list of tasks"),
        ("l.csv", b"ARROW1..", "Feather"),
        ("l.csv", '{"file_name": "a.jpg", "label": "cat"}\n', "JSON Lines.*metadata.jsonl"),
        ("l.csv", "<!DOCTYPE html><html>", "web page"),
        ("l.csv", "filename,labels\na.jpg,cat\n".encode("utf-16"), "UTF-16.*UTF-8"),
        ("l.csv", "filename,labels\na.jpg,cat\n".encode("utf-16-le"), "NUL"),
        ("l.txt", "filename\tlabels\na.jpg\tcat\n".encode("utf-16"), "UTF-16.*UTF-8"),
        ("l.csv", "a.jpg,1,0,1\nb.jpg,0,1,1\n", "first line must be a header"),
        ("l.csv", "filename,labels\na.jpg,caf\u00e9\n".encode("latin-1"), "line 2: 'caf\u00e9' is not UTF-8"),
        ("l.csv.gz", b"\x1f\x8b....", "gzip"),
    ],
)
def test_files_of_other_programs_are_named(tmp_path: Path, name: str, data: str | bytes, words: str) -> None:
    if words == "Parquet":
        pytest.importorskip("pyarrow")
    with pytest.raises(LabelError, match=words) as caught:
        read(tmp_path, data, name)
    if "COCO" not in words and "COCO" in str(caught.value):
        assert "not a COCO" not in str(caught.value)


def test_text_lines_of_0_and_1(tmp_path: Path) -> None:
    text = "a.jpg 1 0\nb.jpg 0 1\nc.jpg 1 1\n"
    with pytest.raises(LabelError, match="--class-file with the 2 names"):
        read(tmp_path, text, "l.txt")
    assert read(tmp_path, text, "l.txt", classes=["cat", "dog"]) == {
        "a.jpg": ["cat"],
        "b.jpg": ["dog"],
        "c.jpg": ["cat", "dog"],
    }


@pytest.mark.parametrize("head", ["3\ncat dog\n", "cat dog\n"])
def test_text_lines_of_minus_1_and_1_below_their_names(tmp_path: Path, head: str) -> None:
    text = head + "a.jpg  1 -1\nb.jpg -1  1\nc.jpg -1 -1\n"
    right = {"a.jpg": ["cat"], "b.jpg": ["dog"], "c.jpg": []}
    assert read(tmp_path, text, "list_attr.txt") == right
    assert read(tmp_path, text, "list_attr.txt", classes=["dog", "cat"]) == right
    with pytest.raises(LabelError, match="unknown class 'dog'"):
        read(tmp_path, text, "list_attr.txt", classes=["cat", "cow"])


@pytest.mark.parametrize("cell", ["NA", "-1", "-1.0", "?"])
def test_a_cell_that_says_neither_yes_nor_no(tmp_path: Path, cell: str) -> None:
    """As R and CheXpert write it: the options that the message names settle it."""
    text = f"filename,cat,dog\na.jpg,{cell},1\nb.jpg,1,0\n"
    with pytest.raises(LabelError, match=rf"'{re.escape(cell)}' in column 'cat'.*--no-class .*--skip-tag"):
        read(tmp_path, text)
    assert read(tmp_path, text, no_class=[cell]) == {"a.jpg": ["dog"], "b.jpg": ["cat"]}
    assert read(tmp_path, text, skip_tag=[cell]) == {"b.jpg": ["cat"]}


def test_numbers_count_from_where_the_option_says(tmp_path: Path) -> None:
    """ImageNet's lists count from 0, VOC's indices from 1."""
    text, classes = "a.jpg 1\nb.jpg 2\n", ["tench", "goldfish", "shark"]
    assert read(tmp_path, text, "val.txt", classes=classes) == {"a.jpg": ["tench"], "b.jpg": ["goldfish"]}
    notes = read_labels(tmp_path / "val.txt", classes=classes).notes
    assert any("from 1, 'tench' (--count-from)" in note for note in notes)
    assert read(tmp_path, text, "val.txt", classes=classes, count_from=0) == {"a.jpg": ["goldfish"], "b.jpg": ["shark"]}
    with pytest.raises(LabelError, match="--count-from 0"):
        read(tmp_path, "a.jpg 0\n", "val.txt", classes=classes)
    with pytest.raises(LabelError, match="--count-from 1"):
        read(tmp_path, "file_name,label\na.jpg,3\n", "metadata.csv", classes=classes)
    table = "file_name,label\na.jpg,3\n"
    assert read(tmp_path, table, "metadata.csv", classes=classes, count_from=1) == {"a.jpg": ["shark"]}


def test_a_text_file_is_not_told_of_columns(tmp_path: Path) -> None:
    with pytest.raises(LabelError) as caught:
        read(tmp_path, '"filename" "label"\n"1" "a.jpg" "cat"\n', "l.txt")
    assert "--label-column" not in str(caught.value)


def test_text_lines_with_a_list_or_a_separator(tmp_path: Path) -> None:
    assert read(tmp_path, "a.jpg ['cat', 'dog']\n", "l.txt") == {"a.jpg": ["cat", "dog"]}
    with pytest.raises(LabelError, match="--tag-separator ','"):
        read(tmp_path, "a.jpg cat,dog\n", "l.txt")
    assert read(tmp_path, "a.jpg cat, hot dog\n", "l.txt", separator=",") == {"a.jpg": ["cat", "hot dog"]}


@pytest.mark.parametrize(("image", "category"), [(1, 3), ("1", "3"), (1.0, 3.0), ("1", "cat")])
@pytest.mark.parametrize(("defined", "kind"), [("1", 3), (1, "3"), (1.0, 3)])
def test_coco_ids_as_text_and_numbers(tmp_path: Path, image: Any, category: Any, defined: Any, kind: Any) -> None:
    data = {
        "images": [{"id": defined, "file_name": "a.jpg"}],
        "annotations": [{"image_id": image, "category_id": category}],
        "categories": [{"id": kind, "name": "cat"}],
    }
    assert read(tmp_path, json.dumps(data), "c.json") == {"a.jpg": ["cat"]}


def test_coco_ids_that_could_be_two(tmp_path: Path) -> None:
    data = {
        "images": [{"id": "01", "file_name": "a.jpg"}, {"id": "001", "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 3}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    with pytest.raises(LabelError, match="refers to image 1"):
        read(tmp_path, json.dumps(data), "c.json")
