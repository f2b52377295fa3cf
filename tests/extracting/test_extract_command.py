"""`pseudomask extract` as people call it: streams and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny

from pseudomask.cli import app


@pytest.fixture
def call(source: Path, tmp_path: Path) -> list[str]:
    weights = tiny.write_weights(tmp_path / "w.safetensors", "resnet18", tag_thresholds=(0.0, 0.0, 0.0))
    quick = ["--weights", str(weights), "--device", "cpu", "--amp", "off", "--workers", "0", "--scales", "1.0"]
    quick += ["--method", "recam", "--refine", "none"]
    return ["extract", *quick, str(source / "photos"), "--limit", "3", str(tmp_path / "out")]


def test_as_a_process(call: list[str], tmp_path: Path) -> None:
    """A first run, from any folder, with options and arguments in any order."""
    done = tiny.program(*call, cwd=tmp_path, PSEUDOMASK_THRESHOLD="0.25")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out'}\n"
    assert "Traceback" not in done.stderr
    assert "0.25, given" in done.stderr
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


def test_exit_codes_in_one_line(call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*more: str) -> tuple[int, str, list[str]]:
        code = app.run([*call, *more])
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return code, streams.out, [line for line in streams.err.splitlines() if line.startswith("error: ")]

    code, out, _ = run("--json")
    assert code == 0
    assert json.loads(out)["done"] == 3
    code, out, errors = run("--threshold", "0.9")
    assert (code, out, len(errors)) == (2, "", 1)
    assert "threshold was 0.2, now 0.9" in errors[0]
    assert "--overwrite" in errors[0]
    code, out, errors = run("--weights", str(tmp_path / "none"))
    assert (code, out, len(errors)) == (3, "", 1)
    code, out, errors = run("--method", "dog", "--quiet")
    assert (code, out, len(errors)) == (2, "", 1)


def test_a_broken_photo_gives_exit_code_1(call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    tiny.write_photos(photos, 2)
    arguments = [str(photos) if a.endswith("photos") else a for a in call]
    assert app.run([*arguments, "--quiet"]) == 1
    streams = capsys.readouterr()
    assert "bad.jpg" in streams.err
    assert streams.out == f"{tmp_path / 'out'}\n"
