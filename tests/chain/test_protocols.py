"""The papers' protocols of examples/ on tiny photos in the official folders: every step, kills, seeds, a trial."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import official
import pytest
import tiny

from pseudomask.chain.forecast import RunCheck
from pseudomask.chain.outcome import RunResult
from pseudomask.config import RunConfig
from pseudomask.errors import UsageError
from pseudomask.pipeline import run

NAMES = ("voc2012-recam", "voc2012-cpmc", "coco2014-recam")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return official.laid_out(tmp_path, monkeypatch)


def do(name: str, reporter: Any = None, **more: Any) -> RunResult:
    return run(RunConfig(config=Path(f"examples/{name}.toml"), partial=True, **more), reporter)


def chain_of(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(f"runs/{name}/chain.json").read_text())
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_step_runs(place: Path, name: str) -> None:
    result = do(name)
    assert result.exit_code == 0
    assert {entry["status"] for entry in result.steps} == {"done"}
    content = chain_of(name)
    assert content["partial"] is True
    assert any(part["problem"] for part in content["data"])
    page = Path(f"runs/{name}/run.html").read_text()
    assert "no number here can be compared with a published one" in page
    measured = {one["step"]: one["mean"] for one in content["numbers"] if one["number"] == "mean_iou"}
    assert {"evaluate seeds", "evaluate masks", "evaluate val"} <= measured.keys()
    assert all(0 <= value <= 1 for value in measured.values())
    lines = "\n".join(result.notes())
    assert ("published 70.9" in lines) == (name == "voc2012-recam")
    assert ("published 46.3" in lines and "46.3" in page) == (name == "coco2014-recam")
    if name == "coco2014-recam":
        by_step = {entry["step"]: entry["config"] for entry in content["steps"]}
        assert (by_step["reactivate"]["sce_weight"], by_step["extract"]["recam_weights"]) == (0.1, "first")
        assert (by_step["train-cls"]["crowd"], by_step["evaluate masks"]["truth_crowds"]) == ("keep", "background")
    assert {entry["status"] for entry in do(name).steps} == {"skipped"}


@pytest.mark.slow
def test_killed_and_resumed_it_ends_as_if_nothing_had_been(place: Path) -> None:
    """kill -9, twice, of the program itself."""
    words = [
        sys.executable,
        "-c",
        "import sys; sys.path[:0] = sys.argv[1:3]; import tiny; from pseudomask.cli.app import",
    ]
    words[2] += " run; sys.exit(run(['run', 'examples/voc2012-recam.toml', '--partial', '--quiet']))"
    words += [str(official.ROOT), str(official.ROOT / "tests")]
    reached = []
    for step in ("extract", "train-seg"):
        process = subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
        for _ in range(1200):
            time.sleep(0.1)
            file = Path("runs/voc2012-recam/chain.json")
            states = {one["step"]: one["status"] for one in chain_of("voc2012-recam")["steps"]} if file.exists() else {}
            if states.get(step) in ("running", "done") or process.poll() is not None:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached.append(states.get(step))
    assert reached[0] in ("running", "done")
    assert do("voc2012-recam").exit_code == 0
    pngs = {path: path.read_bytes() for path in Path("runs/voc2012-recam/predicted").rglob("*.png")}
    assert len(pngs) == 4
    shutil.rmtree("runs")
    do("voc2012-recam")
    assert pngs == {path: path.read_bytes() for path in Path("runs/voc2012-recam/predicted").rglob("*.png")}


@pytest.mark.slow
def test_seeds_are_added_to_a_finished_run(place: Path) -> None:
    do("voc2012-recam", until="extract")
    result = do("voc2012-recam", until="extract", seeds=3)
    became = {entry["step"]: entry["status"] for entry in result.steps}
    assert (became["train-cls"], became["train-cls #2"], became["extract #3"]) == ("skipped", "done", "done")
    assert became["refine #2"] == "left out"
    seeds = [chain_of("voc2012-recam")["steps"][i]["config"]["seed"] for i in (0, 12, 24)]
    assert seeds == [0, 1, 2]
    assert Path("runs/voc2012-recam/repeat-3/seeds/manifest.jsonl").is_file()
    loss = next(one for one in result.document["numbers"] if one["number"] == "held_out_loss")
    values = loss["values"]
    assert len(set(values)) == 3
    assert loss["mean"] == pytest.approx(sum(values) / 3)
    assert (loss["low"], loss["high"]) == (min(values), max(values))
    assert "means over 3 seeds" in Path("runs/voc2012-recam/run.html").read_text()
    again = do("voc2012-recam", until="extract", seeds=2)
    assert {entry["status"] for entry in again.steps if "extract" in entry["step"]} == {"skipped"}


@pytest.mark.slow
def test_a_check_tries_every_step_and_writes_nothing(place: Path) -> None:
    before = sorted(place.rglob("*"))
    result = do("voc2012-recam", check=True, seeds=2)
    assert isinstance(result, RunCheck)
    assert sorted(place.rglob("*")) == before
    assert result.exit_code == 0
    header, rows = result.table()
    assert header == ["step", "of", "each", "about", "disk"]
    by_step = {row[0]: row for row in rows}
    assert by_step["train-cls"][1] == "8 photos, 2 steps in 1 epochs"
    assert by_step["predict"][1] == "4 photos"
    assert "× 2" in by_step["extract"][3]
    assert all(
        one.seconds > 0 and one.each for one in result.forecasts if one.step in ("train-cls", "extract", "refine")
    )
    assert result.size > 100_000
    assert result.to_json()["seconds"] == pytest.approx(result.seconds, abs=0.1)


def test_without_partial_it_is_refused_at_once(place: Path) -> None:
    ear = tiny.Ear()
    with pytest.raises(UsageError, match=r"the data is not complete \(6 problems, above\); .* --partial"):
        run(RunConfig(config=Path("examples/voc2012-recam.toml")), ear)
    assert not Path("runs").exists()
    assert "VOCdevkit/VOC2012/JPEGImages: 12 of 17,125 files (from the VOC 2012 site" in ear.warnings[0]


def test_an_annotation_file_of_another_year_is_named(place: Path) -> None:
    folder = Path("coco/annotations")
    (folder / "instances_train2014.json").rename(folder / "instances_train2017.json")
    ear = tiny.Ear()
    with pytest.raises(UsageError, match=r"no data for any step|not complete"):
        do("coco2014-recam", ear, dry_run=True, until="extract")
    assert any("instances_train2017.json is of another year" in line for line in ear.warnings)


def test_lists_are_cut_down_to_what_is_there(place: Path) -> None:
    root = Path("VOCdevkit/VOC2012")
    (root / "JPEGImages/2007_000001.jpg").unlink()
    ear = tiny.Ear()
    result = do("voc2012-recam", ear, dry_run=True)
    assert "train_aug.txt: 7 of 8 names have a photo in" in "\n".join(ear.warnings)
    assert not Path("runs").exists()
    assert result.steps[0]["status"] == "to make"
    shutil.rmtree(root / "SegmentationClass")
    result = do("voc2012-recam", ear, dry_run=True)
    assert not any(entry["verb"] == "evaluate" for entry in result.steps)
    assert "left out: evaluate seeds, evaluate seeds-best, evaluate masks, evaluate val" in "\n".join(ear.warnings)
