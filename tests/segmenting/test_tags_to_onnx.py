"""From tags to an ONNX file that segments a new photo, as docs/segmenter.md has it, on drawn photos."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from pseudomask.cli import app

PAGE = (Path(__file__).parents[2] / "docs/segmenter.md").read_text("utf-8")
SETTINGS = {"EPOCHS": 1, "DEVICE": "cpu", "WORKERS": 0, "AMP": "off", "TTA": "fast", "REFINE": "none", "CROP": 48}

pytestmark = pytest.mark.slow


def test_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs the extra [onnx]")
    shown = PAGE.split("## From tags to an ONNX file\n")[1].split("```bash\n")[1].split("```")[0]
    commands = [shlex.split(line)[1:] for line in shown.splitlines() if line.startswith("pseudomask ")]
    assert [words[0] for words in commands] == ["extract", "train-seg", "export-model"]
    tiny.write_photos(tmp_path / "examples/photos", 6)
    (tmp_path / "seven.txt").write_text("".join(f"p{i:02d}\n" for i in range(1, 6)))
    variables = SETTINGS | {
        "EXTRACT_WEIGHTS": tiny.write_weights(tmp_path / "w.safetensors", thresholds={"product": 0.3}),
        "NETWORK": f"lraspp_{tiny.NARROW}",
        "BACKBONE_WEIGHTS": tiny.write_backbone(tmp_path / "b.safetensors"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"PSEUDOMASK_{name}", str(value))
    monkeypatch.chdir(tmp_path)
    for words in commands:
        assert app.run(words) == 0, words
    shutil.copy("examples/photos/deep/p00.png", "photo.jpg")
    code = PAGE.split("## Deploy\n")[1].split("```python\n")[1].split("```")[0]
    exec(compile(code, "docs/segmenter.md", "exec"), found := {})
    mask = np.asarray(Image.open("mask.png"))
    assert mask.shape == (48, 64)
    assert mask.max() <= len(tiny.CLASSES)
    width, height = found["small"].size
    assert max(width, height) == int(found["facts"]["long_side"])
    assert found["probabilities"].shape == (1, len(tiny.CLASSES) + 1, height, width)
    np.testing.assert_allclose(found["probabilities"].sum(1), 1, atol=1e-4)
