"""README's everyday commands and its own classes, run word by word on drawn photos with a tiny network."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny

from pseudomask.cli import app
from pseudomask.masks import save_mask

README = Path(__file__).parents[1] / "README.md"


def section(title: str) -> list[list[str]]:
    """The commands of a section, in their order."""
    text = README.read_text("utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for block in text.split("```bash\n")[1:] for line in block.split("```")[0].splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("pseudomask ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What README takes for granted: photos, tags, true masks; and settings that make the commands quick."""
    tiny.write_photos(tmp_path / "images", 8).rename(tmp_path / "labels.csv")
    settings = {
        "WEIGHTS": tiny.write_weights(tmp_path / "w.safetensors", thresholds={"product": 0.3}),
        "TRAIN_CLS_BACKBONE": tiny.NARROW,
        "TRAIN_CLS_BACKBONE_WEIGHTS": tiny.write_backbone(tmp_path / "b.safetensors"),
        **{"CROP": 32, "EPOCHS": 1, "VAL_FRACTION": 0.25, "DEVICE": "cpu", "WORKERS": 0, "SCALES": "1", "AMP": "off"},
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PSEUDOMASK_{name}", str(value))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(commands: Sequence[Sequence[str]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Their output; each must end well."""
    told = []
    for _, *words in commands:
        code = app.run(words)
        out, err = capsys.readouterr()
        assert code == 0, (words, err)
        told.append(out)
    return told


def test_every_day(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = {"imagenet", "review"}  # tests/vocabulary, and tests/reviewing, as it ends with Ctrl-C
    commands = [words for words in section("Every day") if not elsewhere & {*words}]
    assert [words[1] for words in commands] == ["extract", "extract", "refine", "report", "export"]
    assert run(commands, capsys) == ["masks\n", "masks\n", "refined\n", "refined/report.html\n", "dataset\n"]
    photos = len(list((folder / "images").rglob("*.png")))
    for pattern in ("masks/overlays/**/*.jpg", "refined/overlays/**/*.jpg", "dataset/**/SegmentationClassAug/*.png"):
        assert len(list(folder.glob(pattern))) == photos, pattern


def test_own_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for photo in (folder / "images").rglob("*.png"):
        truth = folder / "truth" / photo.relative_to(folder / "images")
        truth.parent.mkdir(parents=True, exist_ok=True)
        height, width = (48, 64) if int(photo.stem[1:]) % 2 == 0 else (64, 48)
        save_mask(truth, rng.integers(0, 4, (height, width)).astype(np.uint8))
    check, *commands = section("Your own classes")[:8]  # what follows, of one file, tests/chain runs
    assert app.run(check[1:]) == 1, "eight photos are hopeless"
    capsys.readouterr()
    assert [words[1] for words in commands[:2]] == ["train-cls", "extract"]
    assert [words[1] for words in commands[2:]] == ["train-cls", "reactivate", "train-affinity", "extract", "evaluate"]
    told = run(commands, capsys)
    runs = [f"runs/{name}/weights.safetensors\n" for name in ("fit", "cls", "recam", "affinity")]
    assert told[:6] == [runs[0], "fit-masks\n", *runs[1:], "own-masks\n"]
    for masks in ("fit-masks", "own-masks"):
        assert len(list((folder / masks).rglob("p*.png"))) == 8
