"""The verb `evaluate`: settings, files written, contradictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import pseudomask
from pseudomask.errors import UsageError
from pseudomask.masks import save_mask
from pseudomask.scores import ScoreMap, save_scores

TRUTH = np.array([[0, 0, 1, 1], [0, 2, 2, 255]], np.uint8)
GUESS = np.array([[0, 1, 1, 1], [0, 2, 0, 0]], np.uint8)
# By hand, 255 left out: background 2 of 4, class 1 2 of 3, class 2 1 of 2.
IOU = {"background": 2 / 4, "cat": 2 / 3, "dog": 1 / 2}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Masks, truth and class names of one small image."""
    save_mask(tmp_path / "pred" / "a.png", GUESS)
    save_mask(tmp_path / "gt" / "a.png", TRUTH)
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n", "utf-8")
    return tmp_path / "pred", tmp_path / "gt", tmp_path / "classes.txt"


def config(folders: tuple[Path, Path, Path], **more: object) -> pseudomask.EvaluateConfig:
    pred, gt, names = folders
    return pseudomask.EvaluateConfig(pred=pred, gt=gt, class_file=names, **more)  # type: ignore[arg-type]


def test_mean_over_all_and_over_chosen_classes(folders: tuple[Path, Path, Path]) -> None:
    everything = pseudomask.evaluate(config(folders)).to_json()
    assert everything["mean_iou"] == pytest.approx(sum(IOU.values()) / 3, abs=1e-12)
    chosen = pseudomask.evaluate(config(folders, classes="cat, dog")).to_json()
    assert chosen["mean_iou"] == pytest.approx((IOU["cat"] + IOU["dog"]) / 2, abs=1e-12)


def test_files_are_written(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    names = {"json_file": tmp_path / "r.json", "csv": tmp_path / "r.csv", "markdown": tmp_path / "r.md"}
    result = pseudomask.evaluate(config(folders, **names))
    assert set(result.files) == {*names.values(), tmp_path / "r.images.csv"}
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == json.loads(json.dumps(result.to_json()))
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert float(rows["cat"]["iou"]) == pytest.approx(IOU["cat"])
    assert "cat" in (tmp_path / "r.md").read_text("utf-8")
    assert "a" in (tmp_path / "r.images.csv").read_text("utf-8")


def test_scores_at_a_threshold_and_swept(folders: tuple[Path, Path, Path]) -> None:
    values = np.stack([(GUESS == 1) * 0.8, (GUESS == 2) * 0.5]).astype(np.float32)
    save_scores(folders[0] / "scores" / "a.npz", ScoreMap((1, 2), values, (2, 4), 1))
    low = pseudomask.evaluate(config(folders, threshold=0.4)).to_json()
    assert low["mean_iou"] == pytest.approx(sum(IOU.values()) / 3)
    high = pseudomask.evaluate(config(folders, threshold=0.6)).to_json()  # class 2 is lost, background has it
    assert high["mean_iou"] == pytest.approx((2 / 5 + IOU["cat"] + 0) / 3)
    swept = pseudomask.evaluate(config(folders, sweep=True)).to_json()
    assert swept["mean_iou"] == pytest.approx(low["mean_iou"])


def test_sweep_and_threshold_contradict(folders: tuple[Path, Path, Path]) -> None:
    with pytest.raises(UsageError, match="cannot be combined"):
        pseudomask.evaluate(config(folders, sweep=True, threshold=0.3))


def test_a_review_leaves_out_masks_and_the_protocol_says_so(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    for folder in folders[:2]:
        save_mask(folder / "b.png", np.zeros_like(TRUTH))
    review = tmp_path / "review.csv"
    review.write_text("photo,verdict\nb.jpg,bad\n")
    told = pseudomask.evaluate(config(folders, review=review))
    assert told.to_json()["mean_iou"] == pytest.approx(sum(IOU.values()) / 3, abs=1e-12)
    assert ("review", "review.csv leaves out 1 bad") in told.summary()
    with pytest.raises(UsageError, match="leaves out"):
        pseudomask.evaluate(config(folders, review=review, unreviewed="drop"))
