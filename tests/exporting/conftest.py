"""Six photos with masks, and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_masks import Call, Made, six

from pseudomask.cli import app


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return six(tmp_path)


@pytest.fixture
def call(made: Made, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs export in this process; returns exit code, stdout and the lines of stderr."""

    def run(*more: str, format: str = "coco", out: Path | None = None, dest: Path | None = None) -> Any:
        code = app.run(["export", str(out or made.out), str(dest or made.dest), "--format", format, *more])
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return code, streams.out, streams.err.splitlines()

    return run
