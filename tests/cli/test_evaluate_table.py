"""The table that people see after `evaluate`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pseudomask import EvaluateConfig
from pseudomask.cli import console
from pseudomask.evaluation import evaluate


def write_masks(folder: Path) -> None:
    for name, mask in (("pred", [[0, 1], [1, 1]]), ("truth", [[0, 0], [1, 1]])):
        (folder / name).mkdir()
        Image.fromarray(np.array(mask, np.uint8)).save(folder / name / "a.png")


def test_table_and_protocol_stand_together(tmp_path: Path) -> None:
    write_masks(tmp_path)
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    result = evaluate(
        EvaluateConfig(pred=tmp_path / "pred", gt=tmp_path / "truth", class_file=tmp_path / "classes.txt")
    )
    assert result.headline() == "mean IoU 58.3 over 2 of 3 classes; in neither truth nor prediction: dog"
    lines = console.table(*result.table())
    table = [line.split() for line in lines]
    assert table[0][:2] == ["class", "IoU"]
    # background: 1 of 2; cat: 2 of 3; mean 7/12
    assert [row[1] for row in table if row[0] in ("background", "cat")] == ["50.0", "66.7"]
    assert table[-1][-1] == "58.3"
    assert "dog" not in [row[0] for row in table]
    protocol = "\n".join(result.notes())
    for word in ("images", "threshold", "ignore", "resolution", "dog"):
        assert word in protocol
    # numbers end in one column
    assert len({line.index(".") for line in lines[2:5]}) == 1


def test_evaluate_needs_no_torch(tmp_path: Path) -> None:
    write_masks(tmp_path)
    code = "import sys; from pseudomask.cli.app import run\nprint(run(sys.argv[1:]), 'torch' in sys.modules)"
    arguments = ["evaluate", str(tmp_path / "pred"), str(tmp_path / "truth")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout == "0 False\n"
