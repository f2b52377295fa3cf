"""The benchmarks run, and measure what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browsing import CHROMIUM
from tiny import write_photos, write_weights

from benchmarks import review_walk, stages
from benchmarks.everything import commands
from benchmarks.extract_speed import multiply
from benchmarks.region_pictures import region
from benchmarks.second_look import Crop
from benchmarks.stage_table import analyse, from_json, on_page, table
from pseudomask.scores import ScoreMap

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.recam_step", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_recam_step(tmp_path: Path) -> None:
    """Small, but with so many classes that the 5-D product (420 MB) outweighs all else."""
    file = tmp_path / "result.json"
    settings = ("--batch-size", "4", "--classes", "512", "--crop", "160", "--backbone", "resnet18")
    done = run(*settings, "--amp", "off", "--repeats", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    assert result["settings"]["classes"] == 512
    assert set(result["ratios"]) == {"plain", "recam", "naive"}
    assert result["ratios"]["plain"] == {"seconds": 1.0, "memory": 1.0}
    steps = result["steps"]
    for name, ratio in result["ratios"].items():
        for what in ("seconds", "memory"):
            assert ratio[what] == pytest.approx(steps[name][what] / steps["plain"][what])
    # both ReCAM steps are one loss, and it is not the plain one
    assert steps["recam"]["loss"] == pytest.approx(steps["naive"]["loss"], rel=1e-4)
    assert steps["recam"]["loss"] > 2 * steps["plain"]["loss"]
    product = 4 * 4 * 512 * 512 * 10 * 10
    assert steps["naive"]["memory"] > product
    assert steps["recam"]["memory"] < product / 2
    assert result["target"] == {"memory": 1.1, "met": result["ratios"]["recam"]["memory"] <= 1.1}
    assert "| ReCAM, 5-D product |" in done.stdout


def test_a_step_that_cannot_fit_is_skipped() -> None:
    """One variant alone, as the benchmark starts it; the product would take thousands of GB."""
    settings = ("--batch-size", "1", "--classes", "80", "--crop", "32", "--backbone", "resnet18")
    done = run("--variant", "naive", "--plain-memory", str(2**52), *settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["skipped"].startswith("needs about 4194304.")


def test_settings_are_checked() -> None:
    done = run("--classes", "1", "--tags", "2")
    assert done.returncode == 2
    assert "--tags must be between 1 and --classes" in done.stderr


def test_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every stage of every method has a rate; those of more processes than there are cores are that of one times N."""
    monkeypatch.setattr(stages, "cores", lambda: 1)
    labels, weights = write_photos(tmp_path / "photos", 6), write_weights(tmp_path / "cam.safetensors")
    file = tmp_path / "result.json"
    command = [str(tmp_path / "photos"), "--labels", str(labels), "--weights", str(weights), "--device", "cpu"]
    stages.main([*command, "--photos", "3", "--repeats", "1", "--processes", "2,8", "--json", str(file)])
    result = json.loads(file.read_text())
    assert result["photos"] == 3
    rates, seconds = result["photos_a_second"], result["methods"]["cpmc"]["seconds"]
    assert set(result["methods"]) == {"cam", "recam", "cpmc"}
    assert rates["decode"]["8"] == pytest.approx(8 * rates["decode"]["1"])
    assert rates["cpmc: maps"]["8"] == rates["cpmc: maps"]["1"] == pytest.approx(1 / seconds["maps"])
    computing = 1 / sum(seconds[stage] for stage in ("stack + copy", "network", "maps"))
    assert rates["cpmc: stack + copy + network + maps"]["2"] == pytest.approx(computing)
    write = rates["cpmc: encode + write"]
    assert write["2"] == write["8"] == pytest.approx(2 * write["1"])  # two threads write beside a CPU's network
    assert rates["cpmc: slowest"]["8"] == pytest.approx(min(computing, write["8"], rates["decode, then views"]["8"]))
    assert "| decode |" in (printed := capsys.readouterr().out)
    assert "\n".join(from_json(result)) in printed
    page = "a\n<!-- benchmarks.stages -->\nold\n<!-- end -->\nb"
    assert on_page(page, ["new"]) == page.replace("old", "\nnew\n")


def test_stages_of_a_stated_gpu() -> None:
    """The table of measured and stated times; the maps of this machine's processor do not count."""
    found = {
        "workers": {"decode": {1: 500.0, 2: 900.0}, "views": {1: 500.0, 2: 900.0}},
        "methods": {
            "cam": {
                "seconds": {"stack + copy": 0.0005, "maps": 0.1},
                "encode + write": {1: 200.0, 2: 300.0},
                "threads": {2: 2, 8: 8, 16: 8},
            }
        },
        "gpu_ms": 2.0, "gpu_maps_ms": None, "target": "cuda", "device": "cpu", "cores": 2,
        "photos": 4, "tta": "fast", "torch": "2",
    }  # fmt: skip
    rows = analyse(found, [1, 2, 8, 16])
    assert rows["decode, then views"][2] == (pytest.approx(450), True)
    assert rows["cam: encode + write"] == {1: (200.0, False), 2: (300.0, False), 8: (1600.0, True), 16: (1600.0, True)}
    assert rows["cam: N processors"][8] == (pytest.approx(8 / 0.0095), True)
    slowest = {n: round(rate) for n, (rate, _) in rows["cam: slowest"].items()}
    assert slowest == {1: 105, 2: 211, 8: 500, 16: 500}
    lines = table(found, rows)
    assert "| cam: network | 2.00 | 500 * | 500 * | 500 * | 500 * |" in lines
    assert "- cam, slowest: N = 1: N processors; N = 2: N processors; N = 8: network; N = 16: network" in lines
    assert lines[-1].endswith("the maps' is measured on cpu, and does not count.")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--gpu-ms", "0"), "0 must be above 0"),
        (("--gpu-maps-ms", "1"), "--gpu-maps-ms needs --gpu-ms"),
        (("--processes", "0,2"), "must be numbers from 1 on"),
    ],
)
def test_settings_of_stages(more: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        stages.main(["photos", "--labels", "photos.csv", *more])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.browser
def test_review_walk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'pseudomask[browser]'")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: install your system's package")
    file = tmp_path / "result.json"
    review_walk.main(["--masks", "10", "--json", str(file)])
    (found,) = json.loads(file.read_text())["runs"]
    assert found["verdicts"] == {"good": 8, "bad": 1, "unsure": 1}
    assert 0 < found["ms"]["on_disk"]["median"] <= found["ms"]["on_disk"]["p95"]
    assert found["seconds_a_mask"] * 10 == pytest.approx(found["walk_s"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("| 10 | ")


def test_a_gpu_gets_all_that_uses_it(tmp_path: Path) -> None:
    """Its tests first, enough copies of each photo, and nothing that leaves it idle."""
    names = [(one[0], one[one.index("--method") + 1] if "--method" in one else "") for one in commands("cuda:0")]
    assert names[0] == ("pytest", "")
    assert [method for name, method in names if name == "extract_speed"] == ["recam", "cpmc", "cam"]
    assert {name for name, _ in names[1:]} == {"extract_speed", "stages", "train_speed", "crf_engines"}
    assert not any(one[0] == "pytest" for one in commands("cpu"))
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(b"")
    (tmp_path / "some.csv").write_text("filename,labels\na.jpg,cat\nb.jpg,dog;cat\nc.jpg,cow\n")
    head, *rows = multiply(tmp_path, tmp_path / "some.csv", 3).read_text().splitlines()
    assert head == "filename,labels"
    assert sorted(row.split(",")[0] for row in rows) == sorted(path.name for path in (tmp_path / "photos").iterdir())
    assert rows.count("2-b.jpg,dog;cat") == 1
    assert len(rows) == 6


def test_a_second_look_is_joined_where_it_looked() -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[10:40, 350:400], mask[60:70, 300:310] = 3, 7
    crop = Crop(mask, 3)
    assert (crop.box, crop.classes) == ((0, 100, 300, 400), [3, 7])  # moved into the photo
    planes = np.full((2, 300, 400), 0.5, np.float32)
    first = ScoreMap((3, 9), planes.copy(), (300, 400), 1)
    crop.join(planes, first, ScoreMap((3,), np.ones((1, 10, 10), np.float32), (20, 20), 2))
    assert (planes[0, :100, 300:] == 0.75).all()
    planes[0, :100, 300:] = 0.5
    assert (planes == 0.5).all()


def test_regions_are_what_the_teacher_knows_otherwise() -> None:
    mask, label = np.array([[1, 0, 2, 1, 1, 0]]), np.array([[1, 1, 1, 0, 255, 255]])
    assert region("false negatives", mask, label).tolist() == [[False, True, True, False, False, False]]
    assert region("false positives", mask, label).tolist() == [[False, False, False, True, False, False]]
