"""evaluate --html and report, from folders to pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Reader, drawn_files

from pseudomask.config import EvaluateConfig, ReportConfig
from pseudomask.errors import UsageError
from pseudomask.evaluation import evaluate
from pseudomask.masks import save_mask
from pseudomask.reporting.report import report
from pseudomask.scores import ScoreMap, save_scores

KEYS = ["a", "sub/b", "c"]
IOU, MARGIN, EMPTY, PHOTO, SCORES, MASK, TRUTH = 1, 4, 7, 8, 9, 10, 11


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """photos/, masks/ and truth/ of `KEYS`: the mask of a is right, that of c empty; masks/ has a record."""
    drawn_files(tmp_path, KEYS)
    right = np.zeros((48, 64), np.uint8)
    right[8:40, 8:40] = 1
    save_mask(tmp_path / "masks" / "a.png", right)
    save_mask(tmp_path / "masks" / "c.png", np.zeros((48, 64), np.uint8))
    entries = [
        entry("a", margin=0.3, area={"cat": 0.3333}),
        entry("sub/b", margin=0.1, area={"cat": 0.2}),
        entry("c", margin=0.5, empty=["cat"]),
        {"key": "d", "image": "d.jpg", "status": "failed", "reason": "truncated"},
    ]
    lines = "".join(json.dumps(one) + "\n" for one in entries)
    (tmp_path / "masks" / "manifest.jsonl").write_text(lines)
    record = {
        "schema": 1,
        "command": "extract",
        "config": {"images": str(tmp_path / "photos"), "threshold": 0.25},
        "classes": ["cat", "dog"],
        "protocol": {"method": "recam"},
        "timings": {"extract": 1.5},
    }
    (tmp_path / "masks" / "run.json").write_text(json.dumps(record))
    return tmp_path


def entry(key: str, **signs: Any) -> dict[str, Any]:
    told = {"key": key, "image": f"{key}.jpg", "status": "done", "classes": ["cat"], "area": {}, "empty": []}
    return told | {"margin": 0.2, "ignored": 0.0} | signs


def evaluated(folder: Path, **more: Any) -> Reader:
    config = EvaluateConfig(
        pred=folder / "masks", gt=folder / "truth", html=folder / "pages" / "page.html", workers=1, **more
    )
    assert config.html is not None
    assert config.html in evaluate(config).files
    return Reader(config.html)


def test_evaluate_shows_the_worst_first_with_its_files(folders: Path) -> None:
    page = evaluated(folders)
    assert [row[0] for row in page.rows] == ["c", "sub/b", "a"]
    ious = [row[IOU] for row in page.rows]
    assert ious[0] < ious[1] < ious[2] == 1.0
    assert page.rows[1][PHOTO : TRUTH + 1] == ["sub/b.jpg", None, "sub/b.png", "sub/b.png"]
    assert page.islands["meta"]["folders"] == {"photo": "../photos/", "mask": "../masks/", "truth": "../truth/"}
    assert [*page.islands["t0"]] == ["photo", "mask", "truth"]
    assert page.rows[0][EMPTY] == [1]
    for told in (
        "mean IoU over 2 of 3 classes; in neither truth nor prediction",
        "255 in truth is not counted",
        "truncated",
        "recam",
        "protocol · method",
    ):
        assert told in page.text


def test_true_masks_drawn_from_annotations_are_shown_without_a_link(folders: Path) -> None:
    """There is no file gt.json/a.jpg; the picture itself is in the page."""
    square = [[8, 8, 40, 8, 40, 40, 8, 40]]
    content = {
        "images": [{"id": i, "file_name": f"{key}.jpg", "height": 48, "width": 64} for i, key in enumerate(KEYS)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 3, "segmentation": square}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
    }
    truth = folders / "instances.json"
    truth.write_text(json.dumps(content))
    config = EvaluateConfig(pred=folders / "masks", gt=truth, html=folders / "page.html", workers=1)
    evaluate(config)
    page = Reader(folders / "page.html")
    assert set(page.islands["meta"]["folders"]) == {"photo", "mask"}
    found = {row[0]: row for row in page.rows}
    assert found["a"][IOU] == 1.0
    assert all("truth" in page.islands[name] for name in page.thumbs)


def test_evaluate_of_any_masks_without_photos(folders: Path) -> None:
    for name in ("manifest.jsonl", "run.json"):
        (folders / "masks" / name).unlink()
    page = evaluated(folders, html_size=0.0)
    assert [row[0] for row in page.rows] == ["c", "sub/b", "a"]
    assert [row[PHOTO] for row in page.rows] == [None] * 3
    assert page.thumbs == []


def test_photos_that_are_gone_are_left_out_but_not_those_asked_for(folders: Path) -> None:
    (folders / "photos").rename(folders / "elsewhere")
    assert evaluated(folders).rows[0][PHOTO] is None
    assert evaluated(folders, images=folders / "elsewhere").rows[0][PHOTO] == "c.jpg"
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        evaluated(folders, images=folders / "nowhere")


def test_a_sweep_has_its_curve_and_shows_masks_at_its_threshold(folders: Path) -> None:
    for key in KEYS:
        values = np.zeros((1, 12, 16), np.float32)
        values[0, 2:10, 2:10] = 0.8
        save_scores(folders / "masks" / "scores" / f"{key}.npz", ScoreMap((1,), values, (48, 64), 4))
    page = evaluated(folders, sweep=True)
    assert any(tag == "polyline" for tag, _ in page.tags)
    assert [*page.islands["t0"]] == ["photo", "scores", "mask", "truth"]
    assert page.rows[0][SCORES : TRUTH + 1] == ["a.npz", "a.png", "a.png"]
    assert "linked mask files may use another threshold" in page.text
    assert len({json.dumps(page.islands[f"t{i}"]["mask"]) for i in range(3)}) == 1  # from scores, all alike here


def test_report_shows_the_most_doubtful_first(folders: Path) -> None:
    result = report(ReportConfig(out=folders / "masks", workers=1))
    assert (result.failed, result.doubtful, result.page.images, result.page.inside) == (1, 1, 3, 3)
    assert result.page.path == folders / "masks" / "report.html"
    page = Reader(result.page.path)
    assert [row[0] for row in page.rows] == ["c", "sub/b", "a"]
    assert [row[IOU] for row in page.rows] == [None] * 3
    assert page.islands["meta"]["folders"] == {"photo": "../photos/", "mask": "./"}
    assert "truncated" in page.text
    assert result.to_json()["page"]["images"] == 3
    assert dict(result.summary())["failed"] == "1"
    again = report(ReportConfig(out=folders / "masks", workers=1))  # its own page is no mask and no photo
    assert again.page.images == 3


def test_report_needs_masks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no mask"):
        report(ReportConfig(out=tmp_path))


def test_no_path_in_a_manifest_is_followed(folders: Path) -> None:
    """Else a page that is sent to others could hold a picture from anywhere."""
    outside = folders / "private.jpg"
    outside.write_bytes((folders / "photos" / "a.jpg").read_bytes())
    lines = [entry("a", image="../private.jpg"), entry("../private", image=str(outside))]
    (folders / "masks" / "manifest.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    for page in (evaluated(folders), Reader(report(ReportConfig(out=folders / "masks")).page.path)):
        assert {row[PHOTO] for row in page.rows} == {"a.jpg", "c.jpg", "sub/b.jpg"}


def test_a_foreign_record_does_no_harm(folders: Path) -> None:
    (folders / "masks" / "run.json").write_text('{"config": {"images": "\\u0000"}, "classes": [1], "timings": "x"}')
    assert Reader(report(ReportConfig(out=folders / "masks")).page.path).rows[0][PHOTO] is None
    (folders / "masks" / "run.json").write_text("[]")
    assert report(ReportConfig(out=folders / "masks")).photos is None
    (folders / "masks" / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json"):
        report(ReportConfig(out=folders / "masks"))
