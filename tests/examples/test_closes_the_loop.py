"""The whole recipe on a few small photos, and what its result says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pseudomask.networks.checkpoint import read_card
from pseudomask.networks.store import find_weights

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("background", "cat", "dog")


def report(ious: tuple[float, ...], images: int) -> dict[str, object]:
    rows = [{"name": name, "iou": iou, "in_mean": True} for name, iou in zip(NAMES, ious, strict=True)]
    rows.append({"name": "cow", "iou": 0.9, "in_mean": False})
    return {"mean_iou": sum(ious) / len(ious), "classes": rows, "protocol": {"images": images}}


def test_the_ratio_is_of_the_means_over_seeds(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/run.json").write_text('{"protocol": {"threshold": 0.42, "threshold_chosen": "auto"}}')
    (tmp_path / "masks.json").write_text(json.dumps(report((0.9, 0.6, 0.6), 5)))
    planted = {"tags0": (0.8, 0.4, 0.3), "tags1": (0.8, 0.2, 0.5), "true0": (0.9, 0.5, 0.4), "true1": (0.9, 0.6, 0.6)}
    for run, ious in planted.items():
        (tmp_path / run).mkdir()
        (tmp_path / run / "val.json").write_text(json.dumps(report(ious, 3)))
        (tmp_path / run / "log.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 0.5}\n')
    words = [sys.executable, ROOT / "benchmarks/recipe.py", tmp_path, "0", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "recipe.json").read_text())
    assert result["miou"] == {"tags": 50.0, "true": 65.0}
    assert result["ratio"] == pytest.approx(50 / 65, abs=5e-4)
    assert result["masks"]["miou"] == 70
    assert result["masks"]["threshold"] == 0.42
    assert result["networks"]["tags"][1]["iou"] == {"background": 80, "cat": 20, "dog": 50}
    lines = done.stdout.splitlines()
    assert "| masks from tags | 50.0 (50.0, 50.0) | 0.769 |" in lines
    assert "| true masks | 65.0 (60.0, 70.0) | 1.000 |" in lines
    assert "| cat | 60.0 | 30.0 | 55.0 |" in lines


@pytest.mark.slow
def test_the_whole_recipe(tmp_path: Path) -> None:
    """From photos and tags to recipe.json by the script alone."""
    data, out = tmp_path / "data", tmp_path / "out"
    weights = find_weights(None)
    (data / "JPEGImages").mkdir(parents=True)
    (data / "ImageSets").mkdir()
    names = []
    for photo in sorted((ROOT / "examples/photos").glob("*.jpg"))[:6]:
        with Image.open(photo) as image:
            image.resize((128, 96)).save(data / "JPEGImages" / photo.name)
        names.append(photo.stem)
    shutil.copy(ROOT / "examples/photos.csv", data / "labels.csv")
    (data / "classes.txt").write_text("\n".join(("background", *read_card(weights).classes)) + "\n")
    for split, chosen in (("train", names[:4]), ("val", names[4:])):
        (data / "ImageSets" / f"{split}.txt").write_text("\n".join(chosen) + "\n")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        **{"TRAIN_SEG": "--crop 49 --epochs 1", "JOBS": "2", "OMP_NUM_THREADS": "1"},
    }
    words = ["pseudomask", "extract", data / "JPEGImages", data / "SegmentationClass", "--no-scores"]
    words += ["--labels", data / "labels.csv", "--class-file", data / "classes.txt"]
    subprocess.run(words, env=environment, check=True, capture_output=True)  # what is held to be true here
    script = [ROOT / "examples/closes_the_loop.sh", data, weights, out]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| trained on | val mIoU |" in done.stdout
    result = json.loads((out / "recipe.json").read_text())
    assert (result["masks"]["images"], result["networks"]["true"][0]["images"]) == (4, 2)
    assert result["miou"].keys() == {"tags", "true"}
    steps = [[line["step"] for line in log] for log in result["logs"].values()]
    assert steps == [[1], [1]]  # one batch of the four photos, in each training
    records = [json.loads((out / run / "run.json").read_text()) for run in ("tags0", "true0")]
    assert [record["config"]["masks"] for record in records] == [str(out / "exported"), str(data / "SegmentationClass")]
    assert sorted(path.stem for path in (out / "tags0/val").glob("*.png")) == names[4:]
