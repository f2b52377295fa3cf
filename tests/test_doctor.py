"""doctor: what is there is told, what is missing gives exit code 3, and nothing is left behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

import pseudomask
from pseudomask import api
from pseudomask import checkup as module
from pseudomask.checkup import DoctorResult, doctor
from pseudomask.cli import app
from pseudomask.config import DoctorConfig
from pseudomask.errors import UsageError
from pseudomask.networks.store import VARIABLE
from pseudomask.running.record import hash_file

Look = Callable[..., DoctorResult]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    weights = tiny.write_weights(tmp_path / "w.safetensors", thresholds={"first": 0.4})

    def run(**changes: object) -> DoctorResult:
        settings = {"weights": weights, "out": tmp_path / "new/out", "device": "cpu", "smoke": False} | changes
        return doctor(DoctorConfig(**settings))  # type: ignore[arg-type]

    return run


def missing(result: DoctorResult) -> list[str]:
    assert result.exit_code == 3
    return [check.name for check in result.checks if check.essential and not check.ok]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 and a fork
def test_a_sound_machine(look: Look, tmp_path: Path) -> None:
    result = look(smoke=True)
    assert (result.exit_code, [c.name for c in result.checks if c.essential and not c.ok]) == (0, [])
    told = dict(result.summary())
    assert told["one photo"].startswith("mask made in ")
    assert told["verdict"] == "ready"
    assert told["writing"] == str(tmp_path)
    assert "recam, narrow, 3 classes, licence CC0-1.0" in told["weights"]
    assert result.weights["sha256"] == hash_file(tmp_path / "w.safetensors")
    assert result.devices[0]["name"] == "cpu"
    assert told["torch"].startswith(result.versions["torch"])
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    document = json.loads(json.dumps(result.to_json()))
    assert (document["schema"], document["ok"], document["weights"]["classes"]) == (1, True, list(tiny.CLASSES))


def test_missing_or_foreign_weights(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(look(weights=tmp_path / "nil")) == ["weights"]
    (tmp_path / "foreign").write_bytes(b"no weights")
    assert missing(look(weights=tmp_path / "foreign", smoke=True)) == ["weights"]
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    result = look(weights=None)
    assert missing(result) == ["weights"]
    assert result.weights == {}
    assert VARIABLE in dict(result.summary())["weights"]


def test_a_folder_that_cannot_be_written(look: Look, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert missing(look(out=tmp_path / "file" / "out")) == ["writing"]


def test_devices(look: Look) -> None:
    result = look(device="cuda:77")
    assert missing(result) == ["device"]
    assert "cuda:77" in dict(result.summary())["device"]
    with pytest.raises(UsageError, match="toaster"):
        look(device="toaster")


def test_packages(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken needed one ends the looking; an absent optional one does not matter."""
    monkeypatch.setattr(module, "OPTIONAL", {"nothing": ("no-such-package", "pip install it")})
    result = look()
    assert result.exit_code == 0
    assert dict(result.summary())["nothing (optional)"] == "absent: pip install it"
    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = look()
    assert missing(result) == ["torchvision"]
    assert "MISSING: ModuleNotFoundError" in dict(result.summary())["torchvision"]


def test_a_photo_that_becomes_no_mask(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: DoctorConfig) -> str:
        raise OSError("no space\nleft")

    monkeypatch.setattr(module, "_smoke", broken)
    result = look(smoke=True)
    assert missing(result) == ["one photo"]
    assert dict(result.summary())["one photo"] == "MISSING: OSError: no space left"
    assert dict(result.summary())["verdict"] == "not ready; missing: one photo"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing is the data asked for: the document comes with exit code 3 too."""
    words = ["doctor", "--no-smoke", "--device", "cpu", "--out", str(tmp_path)]
    assert app.run([*words, "--weights", str(tmp_path / "nil"), "--json"]) == 3
    streams = capsys.readouterr()
    assert json.loads(streams.out)["ok"] is False
    assert "MISSING" in streams.err
    weights = tiny.write_weights(tmp_path / "w.safetensors")
    assert app.run([*words, "--weights", str(weights)]) == 0
    assert capsys.readouterr().out == ""
    assert pseudomask.doctor is api.doctor
