"""The table that people see after `evaluate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pseudomask.cli.evaluate import show
from pseudomask.measuring.evaluate import evaluate


def test_table_and_protocol_stand_together(tmp_path: Path) -> None:
    for name, mask in (("pred", [[0, 1], [1, 1]]), ("truth", [[0, 0], [1, 1]])):
        (tmp_path / name).mkdir()
        Image.fromarray(np.array(mask, np.uint8)).save(tmp_path / name / "a.png")
    lines = show(evaluate(tmp_path / "pred", tmp_path / "truth", class_names=("cat",)))
    table = [line.split() for line in lines[: lines.index("")]]
    assert table[0][:2] == ["class", "IoU"]
    # background: 1 of 2; cat: 2 of 3; mean 7/12
    assert [row[1] for row in table if row[0] in ("background", "cat")] == ["50.0", "66.7"]
    assert table[-1][-1] == "58.3"
    protocol = "\n".join(lines[lines.index("") :])
    for word in ("images", "threshold", "ignore", "resolution"):
        assert word in protocol
    # numbers end in one column
    assert len({line.index(".") for line in lines[2:5]}) == 1
