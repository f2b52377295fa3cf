"""Tags as labelling tools and hubs export them; each sample has the shape of a real one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from labels import read_labels

from pseudomask.errors import LabelError, SetupError


def tags(path: Path, **options: Any) -> dict[str, list[str]]:
    table = read_labels(path, **options)
    return {name: [table.classes[i] for i in tags] for name, tags in table.tags.items()}


def task(number: int, image: str, *choices: list[str], **more: Any) -> dict[str, Any]:
    """A task of Label Studio with an annotation for each list."""
    value = [{"type": "choices", "from_name": "c", "to_name": "image", "value": {"choices": one}} for one in choices]
    done = [{"id": 9, "was_cancelled": False, "ground_truth": False, "result": [one]} for one in value]
    return {"id": number, "data": {"image": image}, "annotations": done, "predictions": [], **more}


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_label_studio(tmp_path: Path) -> None:
    boxes = [{"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["dog"]}}]
    rows = [
        task(1, "/data/upload/3/0a1b2c3d-a%20b.jpg", ["cat", "dog"]),
        task(2, "/data/local-files/?d=sub/b.jpg", ["cat"], ["cat"]),
        task(3, "https://host.example/photos/c.jpg?x=1"),
        {**task(4, "s3://bucket/sub/d.jpg"), "annotations": [{"result": boxes}]},
        {**task(5, "e.jpg", ["cat"]), "annotations": [{"was_cancelled": True, "result": []}]},
    ]
    path = write(tmp_path / "l.json", rows)
    assert tags(path) == {"a b.jpg": ["cat", "dog"], "sub/b.jpg": ["cat"], "sub/d.jpg": ["dog"]}
    assert read_labels(path).format == "label-studio"
    assert "2 tasks without a finished annotation left out" in read_labels(path).notes
    with pytest.raises(LabelError, match="task 7 has annotations that disagree"):
        tags(write(path, [task(7, "a.jpg", ["cat"], ["dog"])]))
    with pytest.raises(LabelError, match="task 8 has no 'image'"):
        tags(write(path, [{"id": 8, "data": {"text": "x"}, "annotations": []}]))


def test_label_studio_min(tmp_path: Path) -> None:
    facts = {"annotator": 1, "annotation_id": 4, "created_at": "2025-01-01", "lead_time": 3.2}
    rows = [
        {"image": "/data/upload/3/0a1b2c3d-a.jpg", "id": 1, "choice": "cat", **facts},
        {"image": "/data/upload/3/0a1b2c3e-b.jpg", "id": 2, "choice": {"choices": ["cat", "dog"]}, **facts},
    ]
    assert tags(write(tmp_path / "l.json", rows)) == {"a.jpg": ["cat"], "b.jpg": ["cat", "dog"]}


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>pets</name><labels><label><name>cat</name></label></labels></task></meta>
  <image id="0" name="sub/a.jpg" width="64" height="48">
    <tag label="cat" source="manual"><attribute name="old">yes</attribute></tag>
    <box label="dog" xtl="1" ytl="1" xbr="2" ybr="2" z_order="0"></box>
  </image>
  <image id="1" name="b.jpg" width="64" height="48"></image>
</annotations>
"""


def test_cvat(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT)
    assert tags(path) == {"sub/a.jpg": ["cat", "dog"], "b.jpg": []}
    assert "1 shape used as tags" in read_labels(path).notes
    for text, words in (
        (CVAT.replace(' label="dog"', ""), "line 7: a box has no label"),
        (CVAT.replace("</annotations>", ""), "malformed XML"),
        ('<!DOCTYPE a [<!ENTITY x "y">]>\n' + CVAT.split("\n", 1)[1], "entities"),
    ):
        path.write_text(text)
        with pytest.raises(LabelError, match=words):
            tags(path)


def test_labelme_flags(tmp_path: Path) -> None:
    flags = {"version": "5.4.1", "flags": {"cat": True, "dog": False}, "shapes": [], "imagePath": "a.jpg"}
    write(tmp_path / "a.json", flags)
    assert tags(tmp_path) == {"a": ["cat"]}


def test_a_folder_of_cvat_files_is_not_taken_for_voc(tmp_path: Path) -> None:
    """As the tasks of a project are exported; the root element tells the two."""
    for name in "ab":
        text = f'<image id="0" name="{name}.jpg" width="4" height="4"><tag label="cat" source="manual"></tag></image>'
        (tmp_path / f"{name}.xml").write_text(f'<?xml version="1.0"?>\n<annotations>{text}</annotations>')
    assert read_labels(tmp_path).format == "cvat"
    assert tags(tmp_path) == {"a.jpg": ["cat"], "b.jpg": ["cat"]}
    (tmp_path / "b.xml").write_text("<annotation><object><name>cat</name></object></annotation>")
    with pytest.raises(LabelError, match=r"b\.xml, line 1: is not a CVAT export"):
        tags(tmp_path, format="cvat")
    (tmp_path / "a.xml").write_text("<annotation><object><name>dog</name></object></annotation>")
    assert (read_labels(tmp_path).format, tags(tmp_path)) == ("voc", {"a": ["dog"], "b": ["cat"]})


def test_roboflow_multi_class(tmp_path: Path) -> None:
    path = tmp_path / "_classes.csv"
    path.write_text("filename, cat, dog\na_jpg.rf.0f3e.jpg, 1, 0\nb_jpg.rf.77aa.jpg, 1, 1\n")
    assert tags(path) == {"a_jpg.rf.0f3e.jpg": ["cat"], "b_jpg.rf.77aa.jpg": ["cat", "dog"]}


def parquet(path: Path, labels: list[Any], feature: Any = None) -> Path:
    """As `datasets` writes images: bytes and path, with ClassLabel's names in the metadata."""
    pa = pytest.importorskip("pyarrow", reason="needs the extra [hub]")
    import pyarrow.parquet as pq

    images = [{"bytes": b"\xff\xd8", "path": f"p{i}.jpg"} for i in range(len(labels))]
    table = pa.table({"image": images, "label": labels})
    if feature:
        told = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, path)
    return path


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    file = tmp_path / "train-00000-of-00001.parquet"
    assert tags(parquet(file, [1, 0], names)) == {"p0.jpg": ["dog"], "p1.jpg": ["cat"]}
    assert tags(tmp_path) == {"p0.jpg": ["dog"], "p1.jpg": ["cat"]}, "a folder of shards"
    assert tags(parquet(file, [[0, 1], []], {"feature": names})) == {"p0.jpg": ["cat", "dog"], "p1.jpg": []}
    assert tags(parquet(file, ["cat", "dog"])) == {"p0.jpg": ["cat"], "p1.jpg": ["dog"]}
    with pytest.raises(LabelError, match="label 5, but the file names 2 classes"):
        tags(parquet(file, [5], names))
    with pytest.raises(LabelError, match="--label-column"):
        tags(file, label_column=["species"])
    file.write_bytes(b"PAR1....")
    with pytest.raises(LabelError, match="cannot be read as Parquet"):
        tags(file)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SetupError, match=r"pseudomask\[hub\]"):
        tags(file)
