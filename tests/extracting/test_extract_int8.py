"""`--amp int8`: masks near float32's, the same after a stop, never mixed with others; what has no 8 bits is refused."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from pseudomask import Predictor
from pseudomask.cli import app
from pseudomask.config import CalibrateConfig, ExtractConfig
from pseudomask.errors import DeviceError, RecordMismatch, UsageError
from pseudomask.extracting.extract import extract
from pseudomask.masks import load_mask
from pseudomask.networks import int8
from pseudomask.networks.backbones.resnet import ResNetBackbone
from pseudomask.training.seeds import make_seeds

Settings = Callable[..., ExtractConfig]

pytestmark = pytest.mark.skipif(not int8._works(), reason="torch has no 8-bit convolutions here")


def files(out: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "run.json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def protocol(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())["protocol"]
    return found


@pytest.fixture(scope="module")
def small(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run."""
    out = tmp_path_factory.mktemp("int8") / "out"
    ear = tiny.Ear()
    assert extract(settings(out, amp="int8"), ear).done == 8
    assert "calibrated the 8-bit network on 4 photos" in ear.infos
    return out


def test_masks_are_near_those_of_float32_and_the_record_tells(small: Path, settings: Settings, tmp_path: Path) -> None:
    extract(settings(tmp_path / "out"))
    keys = [path.relative_to(small) for path in small.rglob("*.png")]
    equal = np.concatenate([(load_mask(small / key) == load_mask(tmp_path / "out" / key)).ravel() for key in keys])
    assert 0.95 < equal.mean() < 1
    found = protocol(small)
    assert found["precision"] == "int8"
    assert list(found["int8"]) == [f"layer{stage}.0.{i}" for stage in (2, 3, 4) for i in (0, 1)]
    assert "int8" not in protocol(tmp_path / "out")


def test_a_stopped_run_resumes_with_its_ranges(small: Path, settings: Settings, tmp_path: Path) -> None:
    """Also where the photos that it was calibrated on would now be others, or in other batches."""
    config = settings(tmp_path / "out", amp="int8", batch_size=2)
    assert extract(config, tiny.StopsAt(3, signal.SIGTERM)).exit_code == 143
    assert 0 < len(list(config.out.rglob("*.png"))) < 8
    ear = tiny.Ear()
    assert extract(config, ear).done == 8
    assert not [line for line in ear.infos if "calibrated" in line]
    assert files(config.out) == files(small)

    config = settings(tmp_path / "few", amp="int8", limit=2)
    extract(config)
    ranges, first = protocol(config.out)["int8"], files(config.out)
    assert ranges != protocol(small)["int8"]
    extract(settings(config.out, amp="int8"))
    assert protocol(config.out)["int8"] == ranges
    assert first.items() - {("manifest.jsonl", first["manifest.jsonl"])} <= files(config.out).items()


def test_no_mix_with_other_precisions(small: Path, settings: Settings, tmp_path: Path) -> None:
    before = files(small)
    with pytest.raises(RecordMismatch, match="the 8-bit arithmetic of --amp int8 differs"):
        extract(settings(small))
    assert files(small) == before
    out = tmp_path / "out"
    extract(settings(out, limit=2))
    with pytest.raises(RecordMismatch, match="the 8-bit arithmetic of --amp int8 differs"):
        extract(settings(out, amp="int8"))
    extract(settings(out, amp="int8", update=True))
    assert files(out) == before, "remade"
    extract(settings(out, amp="int8", overwrite=True, limit=2))
    with pytest.raises(RecordMismatch, match=r"other settings: threshold was 0\.3, now 0\.5; add --overwrite"):
        extract(settings(out, amp="int8", threshold=0.5))
    of_two = protocol(out)["int8"]
    extract(settings(out, amp="int8", threshold=0.5, update=True))
    assert protocol(out)["int8"] == protocol(small)["int8"] != of_two, "as in a new folder"


def test_seeds_in_8_bits_can_be_taught_from(settings: Settings, tmp_path: Path) -> None:
    seeds = settings(tmp_path / "seeds", amp="int8", limit=3)
    extract(seeds)
    given = {name: getattr(seeds, name) for name in ("images", "labels", "weights", "device", "workers")}
    config = CalibrateConfig(run=tmp_path / "run", amp="off", **given)
    assert make_seeds(config, seeds.out, tiny.Ear()).skipped == 3
    assert protocol(seeds.out)["precision"] == "int8"


def test_unreadable_photos_are_passed_over(settings: Settings, tmp_path: Path) -> None:
    tiny.write_photos(tmp_path / "photos", 6)
    for bad in ("p01.png", "deep/p04.png"):
        (tmp_path / "photos" / bad).write_bytes(b"\x89PNG\r\n\x1a\n no more")
    ear, here = tiny.Ear(), {"images": tmp_path / "photos", "labels": tmp_path / "photos.csv"}
    assert extract(settings(tmp_path / "out", amp="int8", **here), ear).failed == 2
    assert "calibrated the 8-bit network on 4 photos" in ear.infos
    (tmp_path / "list.txt").write_text("p01\n")
    result = extract(settings(tmp_path / "none", amp="int8", list=tmp_path / "list.txt", **here))
    assert (result.done, result.failed) == (0, 1)
    result = extract(settings(tmp_path / "none", amp="int8", **here))
    assert (result.done, result.failed) == (4, 2)
    assert protocol(tmp_path / "none")["int8"]


def test_a_dry_run_calibrates_nothing(settings: Settings, tmp_path: Path) -> None:
    ear = tiny.Ear()
    result = extract(settings(tmp_path / "out", amp="int8", dry_run=True), ear)
    assert ("device", "cpu, int8") in result.understood
    assert not [line for line in ear.infos if "calibrated" in line]


def test_what_cannot_be_in_8_bits(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--amp int8 has no gradients"):
        extract(settings(tmp_path / "out", amp="int8", cam="advcam"))
    other = tiny.write_weights(tmp_path / "w.safetensors", "mobilenet_v3_large")
    with pytest.raises(UsageError, match="torchvision's ResNets; for mobilenet_v3_large use bf16 or off"):
        extract(settings(tmp_path / "out", amp="int8", weights=other))
    with pytest.raises(UsageError, match="int8 is calibrated on the photos of a folder"):
        Predictor(amp="int8")
    backbone = tiny.make_network().backbone
    with pytest.raises(UsageError, match="--amp int8 is for CPUs"):
        int8.check_int8(backbone, torch.device("cuda"))
    monkeypatch.setattr(int8, "_works", lambda: False)
    assert isinstance(backbone, ResNetBackbone)
    with pytest.raises(DeviceError, match="torch has no 8-bit convolutions for this machine"):
        extract(settings(tmp_path / "out", amp="int8"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", ["predict {0} {0}/out --weights w", "train-cls {0} {0}/run", "refine {0} {0}/s {0}/o"]
)
def test_other_verbs_refuse_it(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*words.format(tmp_path).split(), "--amp", "int8"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "must be one of auto, off, bf16, fp16, not 'int8'" in line
