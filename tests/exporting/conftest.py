"""Six photos with masks, and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_masks import Call, Made

from pseudomask.cli import app


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Six photos in two folders; an empty and a full mask among them; one photo failed."""
    one = Made(tmp_path)
    one.add("a.jpg")
    one.add("deep/b c.jpg")
    one.add("deep/é☃.jpg")
    one.add("empty.jpg", np.zeros((10, 14), np.uint8))
    one.add("full.jpg", np.full((13, 9), 2, np.uint8))
    one.add("deep/er/last.jpg")
    one.add("broken.jpg", status="failed", reason="truncated")
    one.record()
    return one


@pytest.fixture
def call(made: Made, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs export in this process; returns exit code, stdout and the lines of stderr."""

    def run(*more: str, format: str = "coco", out: Path | None = None, dest: Path | None = None) -> Any:
        code = app.run(["export", str(out or made.out), str(dest or made.dest), "--format", format, *more])
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return code, streams.out, streams.err.splitlines()

    return run
