"""Data of another year, double ids and wrong policies are named before any step runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import official
import pytest
import tiny

from pseudomask.config import RunConfig
from pseudomask.errors import PseudomaskError
from pseudomask.pipeline import run

VOC, COCO = Path("examples/voc2012-recam.toml"), Path("examples/coco2014-recam.toml")
ANNOTATIONS = Path("coco/annotations")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return official.laid_out(tmp_path, monkeypatch)


def refused(file: Path) -> str:
    """What is said of a run on what is there, which must write nothing."""
    ear = tiny.Ear()
    with pytest.raises(PseudomaskError) as caught:
        run(RunConfig(config=file, partial=True), ear)
    assert caught.value.exit_code == 2
    assert not Path("runs").exists()
    return "\n".join([*ear.warnings, str(caught.value)])


def rewrite(split: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = ANNOTATIONS / f"instances_{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("split", ["train2014", "val2014"])
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda rows: rows["images"].append(rows["images"][0]), "image"),
        (lambda rows: rows["categories"].append(rows["categories"][0]), "category 3"),
        (lambda rows: rows["annotations"].append(rows["annotations"][0]), "annotation id 0 is used twice"),
    ],
)
def test_double_ids(split: str, change: Callable[[dict[str, Any]], object], complaint: str) -> None:
    """Those of the val split, too, which is needed only at the end."""
    rewrite(split, change)
    told = refused(COCO)
    assert f"instances_{split}.json" in told
    assert complaint in told


def test_annotations_of_coco_2017() -> None:
    """Under the name of those of 2014: the photos have other names."""

    def renamed(rows: dict[str, Any]) -> None:
        for row in rows["images"]:
            row["file_name"] = row["file_name"].removeprefix("COCO_train2014_")

    rewrite("train2014", renamed)
    told = refused(COCO)
    assert "it names '000000000000.jpg' as in COCO 2017, the folder contains" in told
    assert "as in COCO 2014" in told


def test_lists_of_voc_2007() -> None:
    for name in ("train", "train_aug", "val"):
        Path(f"VOCdevkit/VOC2012/ImageSets/Segmentation/{name}.txt").write_text("000005\n000007\n")
    told = refused(VOC)
    assert "train_aug.txt: 0 of 2 names have a photo in VOCdevkit/VOC2012/JPEGImages: it names '000005' as in" in told
    assert "as in VOC 2007, the folder contains '2007_000000.jpg' as in VOC 2012" in told


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ('crowd = "keep"', 'crowd = "kept"', "crowd.*keep"),
        ('truth-crowds = "background"', 'truth-crowds = "keep"', "truth-crowds.*background"),
    ],
)
def test_a_wrong_crowd_policy(right: str, wrong: str, complaint: str) -> None:
    COCO.write_text(COCO.read_text().replace(right, wrong, 1))
    with pytest.raises(PseudomaskError, match=complaint):
        run(RunConfig(config=COCO, partial=True))
