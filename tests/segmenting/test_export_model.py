"""export-model: the ONNX file does what the network does, for photos of any size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from pseudomask.api import export_model
from pseudomask.config import ExportModelConfig
from pseudomask.errors import PseudomaskError, SetupError, UsageError, WeightsError
from pseudomask.networks.segmenter import likeliest, load_segmenter
from pseudomask.segmenting import onnx_file

pytestmark = pytest.mark.slow
NEEDED = "needs the extra [onnx]"


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=NEEDED)
    result = export_model(ExportModelConfig(weights=place / "segmenter.safetensors", file=place / "model.onnx"))
    assert result.agreement > 0.999
    return place / "model.onnx"


@pytest.mark.parametrize("shape", [(1, 48, 64), (3, 65, 31)])
def test_onnxruntime_and_torch_agree(place: Path, model: Path, shape: tuple[int, int, int]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model))
    image = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask, found = session.run(None, {"image": image})
    expected = likeliest(load_segmenter(place / "segmenter.safetensors")[0], torch.from_numpy(image), None)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    assert mask.shape == shape
    assert mask.dtype == np.uint8
    assert (mask == found.argmax(1)).all()


def test_the_file_says_what_its_values_mean(model: Path) -> None:
    import onnxruntime

    facts = onnxruntime.InferenceSession(str(model)).get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["background", *tiny.CLASSES]
    assert facts["long_side"] == "84"
    assert len(json.loads(facts["palette"])) == 4
    assert [one.name for one in model.parent.iterdir() if "onnx" in one.name] == ["model.onnx"], "one file holds it all"


def test_a_file_that_disagrees_is_not_written(
    place: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of one network, compared with another."""
    monkeypatch.setattr(onnx_file, "_write", lambda deployed, card, path: path.write_bytes(model.read_bytes()))
    import conftest

    other = conftest.write_segmenter(tmp_path / "other.safetensors", seed=2)
    with pytest.raises(PseudomaskError, match="agree on only"):
        export_model(ExportModelConfig(weights=other, file=tmp_path / "x.onnx"))
    assert not (tmp_path / "x.onnx").exists()


def test_bad_calls(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, there = place / "segmenter.safetensors", tmp_path / "there.onnx"
    there.write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        export_model(ExportModelConfig(weights=weights, file=there))
    with pytest.raises(UsageError, match=r"\.onnx"):
        export_model(ExportModelConfig(weights=weights, file=tmp_path / "model"))
    with pytest.raises(WeightsError, match="extract"):
        export_model(ExportModelConfig(weights=tiny.write_weights(tmp_path / "cam.safetensors"), file=there))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SetupError, match=r"pseudomask\[onnx\]"):
        export_model(ExportModelConfig(weights=weights, file=tmp_path / "model.onnx"))
    assert there.read_text() == "mine"
