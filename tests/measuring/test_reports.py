"""What a report writes."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pseudomask.errors import UsageError
from pseudomask.masks import save_mask
from pseudomask.measuring.evaluate import evaluate
from pseudomask.measuring.reports import HEADER, SCHEMA, Report


@pytest.fixture
def report(tmp_path: Path) -> Report:
    save_mask(tmp_path / "p" / "a,b.png", np.array([[0, 1, 1, 2]], np.uint8))
    save_mask(tmp_path / "t" / "a,b.png", np.array([[0, 1, 2, 255]], np.uint8))
    return evaluate(tmp_path / "p", tmp_path / "t", class_names=("cat|x", "dog", "cow"))


def test_json_is_a_document_without_nan(report: Report) -> None:
    text = json.dumps(report.to_json(), allow_nan=False)
    document = json.loads(text)
    assert document["schema"] == SCHEMA
    assert document["mean_iou"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert document["classes"][3]["iou"] is None
    assert document["protocol"]["absent"] == ["cow"]
    assert document["protocol"]["threshold"] is None
    assert document["confusion"][2] == [0, 1, 0, 0]
    assert document["images"] == [{"key": "a,b", "iou": 0.5, "pixels": 3}]
    assert document["swaps"] == [{"truth": "dog", "predicted": "cat|x", "pixels": 1, "share": 1.0}]


def test_csv_reads_back(report: Report, tmp_path: Path) -> None:
    report.to_csv(tmp_path / "classes.csv")
    report.images_to_csv(tmp_path / "images.csv")
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["name"] for row in rows] == ["background", "cat|x", "dog", "cow"]
    assert float(rows[1]["iou"]) == report.classes[1].iou
    assert rows[3]["iou"] == ""
    assert rows[1]["truth_pixels"] == "1"
    with (tmp_path / "images.csv").open(newline="") as file:
        assert [*csv.DictReader(file)] == [{"key": "a,b", "iou": "0.5", "pixels": "3"}]


def test_rows_for_people(report: Report) -> None:
    rows = report.rows()
    assert all(len(row) == len(HEADER) for row in rows)
    assert rows[0] == ("background", "100.0", "100.0", "100.0", "0.0", "0.0")
    assert rows[2][:2] == ("dog", "0.0")
    assert rows[3][:2] == ("cow", "-")
    assert rows[-1][:2] == ("mean of 3", "50.0")


def test_classes_outside_the_mean_are_marked(report: Report) -> None:
    classes = tuple(replace(row, in_mean=row.name == "dog") for row in report.classes)
    rows = replace(report, classes=classes).rows()
    assert rows[0][0] == "(background)"
    assert rows[2][0] == "dog"
    assert rows[-1][0] == "mean of 1"


def test_markdown_holds_number_protocol_and_a_whole_table(report: Report) -> None:
    text = replace(report, curve=((0.1, 0.2), (0.3, 0.7))).to_markdown()
    assert text.startswith("**mean IoU 50.0** over 3 of 4 classes; in neither truth nor prediction: cow\n")
    assert "- ignore: 255 in truth is not counted, in predictions it is background" in text
    assert "- absent, left out: 1: cow" in text
    assert "| cat\\|x | 50.0 |" in text
    assert text.index("| 0.3 | 70.0 |") < text.index("| 0.1 | 20.0 |")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") - 1 for line in tables}
    assert widths == {6, 3, 2}


def test_protocol_lines_count_long_lists(report: Report) -> None:
    protocol = replace(
        report.protocol,
        without_truth=tuple("abcdef"),
        without_prediction=("x",),
        threshold=0.31,
        threshold_source="chosen on this truth",
        thresholds_tried=100,
        listed="val.txt",
    )
    lines = dict(protocol.lines())
    assert lines["without truth"] == "6: a, b, c, …"
    assert lines["without prediction"] == "1: x"
    assert lines["threshold"] == "0.31, chosen on this truth among 100"
    assert lines["images"] == "1 (val.txt)"


def test_nothing_counted(tmp_path: Path) -> None:
    save_mask(tmp_path / "p" / "a.png", np.array([[1]], np.uint8))
    save_mask(tmp_path / "t" / "a.png", np.array([[255]], np.uint8))
    for said in (None, "255=ignore"):
        with pytest.raises(UsageError, match="no pixel counts"):
            evaluate(tmp_path / "p", tmp_path / "t", class_names=("cat",), truth_map=said)


def test_undefined_numbers(report: Report) -> None:
    report = replace(report, mean_iou=math.nan)
    assert report.to_json()["mean_iou"] is None
    assert report.rows()[-1][1] == "-"
    assert "mean IoU -" in report.to_markdown()
