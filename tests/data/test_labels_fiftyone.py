"""FiftyOne's exports; the samples have the shape of what `dataset.export` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from labels import read_labels

from pseudomask.errors import LabelError


def tags(path: Path, **options: Any) -> dict[str, list[str]]:
    table = read_labels(path, **options)
    return {name: [table.classes[i] for i in tags] for name, tags in table.tags.items()}


def one(label: str | None) -> dict[str, Any]:
    facts = {"_id": {"$oid": "65a0c0ffee"}, "_cls": "Classification", "tags": [], "confidence": None, "logits": None}
    return facts | {"label": label}


def several(*labels: str) -> dict[str, Any]:
    return {"_cls": "Classifications", "classifications": [one(label) for label in labels], "logits": None}


def boxes(*labels: str) -> dict[str, Any]:
    found = [{**one(label), "_cls": "Detection", "attributes": {}, "bounding_box": [0, 0, 0.5, 1]} for label in labels]
    return {"_cls": "Detections", "detections": found}


def sample(file: str, *sample_tags: str, media: str = "image", **fields: Any) -> dict[str, Any]:
    return {
        "_id": {"$oid": "65a0c0ffee"},
        "filepath": file,
        "tags": list(sample_tags),
        "metadata": {"_cls": "ImageMetadata", "size_bytes": 9, "mime_type": "image/jpeg", "width": 4, "height": 3},
        "_media_type": media,
        "_rand": 0.25,
        "created_at": {"$date": "2026-01-01T00:00:00Z"},
        "uniqueness": 0.5,
        **fields,
    }


def export(folder: Path, *samples: dict[str, Any]) -> Path:
    (folder / "metadata.json").write_text('{"name": "animals", "media_type": "image", "sample_fields": []}')
    path = folder / "samples.json"
    path.write_text(json.dumps({"samples": samples}))
    return path


def test_samples(tmp_path: Path) -> None:
    path = export(
        tmp_path,
        sample("data/a.jpg", "train", ground_truth=one("cat")),
        sample("data/b.jpg", "train", ground_truth=several("dog", "cat")),
        sample("data/c.jpg", "val", ground_truth=boxes("dog", "dog")),
        sample("data/d.jpg", "val", ground_truth=boxes()),
        sample("data/e.jpg", "val", ground_truth=None),
        sample("data/f.jpg", "val", ground_truth=one(None)),
    )
    right = {"data/a.jpg": ["cat"], "data/b.jpg": ["cat", "dog"], "data/c.jpg": ["dog"], "data/d.jpg": []}
    assert tags(path) == tags(tmp_path) == right
    assert read_labels(path).format == "fiftyone"
    assert "2 samples without labels left out" in read_labels(path).notes
    assert list(tags(path, split="train")) == ["data/a.jpg", "data/b.jpg"]
    with pytest.raises(LabelError, match=r"no sample has the tag 'trian' .*did you mean 'train'"):
        tags(path, split="trian")


def test_the_field_of_labels(tmp_path: Path) -> None:
    mask = {"_cls": "Segmentation", "mask_path": "fields/a.png"}
    path = export(tmp_path, sample("a.jpg", masks=mask, ground_truth=one("cat"), guess=one("dog")))
    assert tags(path) == {"a.jpg": ["cat"]}
    assert "labels of the field 'ground_truth' (--label-column), of ground_truth, guess" in read_labels(path).notes
    assert tags(path, label_column=["guess"]) == {"a.jpg": ["dog"]}
    with pytest.raises(LabelError, match="fields with labels: ground_truth, guess"):
        tags(path, label_column=["masks"])
    path = export(tmp_path, sample("a.jpg", "cat", "cow", mine=one("cat"), guess=one("dog")))
    assert tags(path, label_column=["tags"]) == {"a.jpg": ["cat", "cow"]}
    with pytest.raises(LabelError, match="labels in the fields mine, guess; choose with --label-column"):
        tags(path)
    with pytest.raises(LabelError, match="not a table"):
        tags(path, image_column="filepath")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"samples": [sample("a.mp4", media="video", ground_truth=one("cat"))]}, "kind video, which are not photos"),
        ({"samples": [sample("a.jpg", "cat")]}, "no sample has a field with labels; --label-column tags .* tags, cat"),
        ({"samples": [{"ground_truth": one("cat")}]}, "sample 0 has no 'filepath'"),
        ({"samples": ["a.jpg"]}, "not a FiftyOne export"),
        ({"samples": []}, "no sample has a field with labels"),
        ({"classes": ["cat"], "labels": ["cat"]}, "not a FiftyOne export"),
        ({"classes": ["cat"], "labels": {"a": 1}}, "the photo 'a' has the label 1, which is neither a name nor"),
        ({"classes": ["cat"], "labels": {"a": {"score": 1}}}, "which is neither a name nor a position"),
        ({"classes": "cat", "labels": {"a": 0}}, "'classes' is not a list of names"),
    ],
)
def test_unknown_shapes_are_named(tmp_path: Path, content: Any, complaint: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    with pytest.raises(LabelError, match=complaint):
        tags(path)


def test_classification_and_detection_sets(tmp_path: Path) -> None:
    """labels.json of FiftyOneImageClassificationDataset in all its forms, and of FiftyOneImageDetectionDataset."""
    path = tmp_path / "labels.json"
    labels: dict[str, Any] = {
        "a": 1,
        "sub/b": [0, 1],
        "c": {"label": 0, "confidence": 0.9, "attributes": {}},
        "d": [{"label": 1, "bounding_box": [0, 0, 1, 1]}, {"label": 1, "bounding_box": [0, 0, 1, 1]}],
        "e": [],
        "f": None,
    }
    right = {"a": ["cat"], "sub/b": ["cat", "dog"], "c": ["dog"], "d": ["cat"], "e": []}
    path.write_text(json.dumps({"classes": ["dog", "cat"], "labels": labels}))
    assert {name: sorted(found) for name, found in tags(path).items()} == right
    assert read_labels(tmp_path).classes == ("dog", "cat")
    assert "1 photo without labels left out" in read_labels(path).notes
    path.write_text(json.dumps({"classes": None, "labels": {"a": "cat", "b": ["cat", "dog"]}}))
    assert tags(path) == {"a": ["cat"], "b": ["cat", "dog"]}
    with pytest.raises(LabelError, match="neither splits nor fields"):
        tags(path, split="train")


def test_a_coco_file_called_labels_json_stays_coco(tmp_path: Path) -> None:
    """FiftyOne's COCODetectionDataset writes this name, too."""
    path = tmp_path / "labels.json"
    rows = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "category_id": 2}]}
    path.write_text(json.dumps({"info": {}, "licenses": [], "categories": [{"id": 2, "name": "cat"}], **rows}))
    assert (read_labels(path).format, tags(path)) == ("coco", {"a.jpg": ["cat"]})
