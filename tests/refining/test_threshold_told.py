"""The threshold of refined masks, wherever it is told: not that of the seeds, which a refiner may move."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from planted import KEYS, THRESHOLD, Settings

from pseudomask.cli import app
from pseudomask.config import ExportConfig
from pseudomask.exporting.export import export
from pseudomask.masks import load_mask
from pseudomask.measuring.evaluate import evaluate
from pseudomask.refining.refine import refine
from pseudomask.refining.seeds import read_seeds
from pseudomask.running.made import MadeFolder
from pseudomask.running.record import RunRecord
from pseudomask.scores import load_scores


def test_all_readers_tell_the_threshold_of_the_masks(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    level = refine(settings(out, method=("crf",), scores=True, score_bits="16")).scores_threshold
    assert level != THRESHOLD, "a refiner that moves nothing shows nothing"
    agree = [(load_scores(out / f"scores/{k}.npz").mask(level) == load_mask(out / f"{k}.png")).mean() for k in KEYS]
    assert np.min(agree) > 0.99
    seeds = read_seeds(out, None)
    assert (seeds.threshold, "moved from 0.3 by crf" in seeds.threshold_chosen) == (level, True)
    masks = evaluate(out, out)
    assert masks.protocol.threshold == level
    assert f"{level:g}, from the masks (" in dict(masks.protocol.lines())["threshold"]
    page = tmp_path / "page.html"
    assert app.run(["evaluate", str(out), str(out), "--threshold", str(level), "--html", str(page), "-q"]) == 0
    assert "linked mask files" not in " ".join(page.read_text("utf-8").split())
    export(ExportConfig(out=out, dest=tmp_path / "dest", format="coco"))
    assert f"threshold: {level:g}, " in (tmp_path / "dest/README.md").read_text("utf-8")


def test_walk_is_told_as_refine_records_it(tmp_path: Path) -> None:
    """Without a trained affinity: what `refine` would write for it."""
    level = 0.41
    RunRecord(
        command="refine",
        config={"threshold": THRESHOLD},
        classes=("cat",),
        protocol={
            "method": "walk",
            "threshold": THRESHOLD,
            "threshold_chosen": "given",
            "scores_threshold": level,
        },
    ).write(tmp_path / "run.json")
    made = MadeFolder(tmp_path)
    assert (made.threshold, made.threshold_chosen) == (level, "given, moved from 0.3 by walk")


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({}, (None, "")),
        ({"config": [], "protocol": None}, (None, "")),
        ({"config": {"threshold": 0.2}}, (0.2, "given")),
        ({"config": {"threshold": True}}, (None, "")),
        ({"config": {"threshold": 0.2}, "protocol": {"scores_threshold": "x"}}, (None, "")),
        ({"config": {"threshold": 0.2}, "protocol": {"scores_threshold": 0.2, "threshold_chosen": "a"}}, (0.2, "a")),
    ],
)
def test_odd_records(tmp_path: Path, record: dict[str, object], found: tuple[float | None, str]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record))
    made = MadeFolder(tmp_path)
    assert (made.threshold, made.threshold_chosen) == found
