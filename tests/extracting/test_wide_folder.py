"""A folder of 12-bit photos from extract to refine: one reading for all, recorded, told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from pseudomask.config import ExtractConfig, RefineConfig
from pseudomask.errors import RecordMismatch
from pseudomask.extracting.extract import extract
from pseudomask.refining.refine import refine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, brightest in enumerate((4095, 900)):
        values = np.random.default_rng(i).integers(0, brightest, (48, 64)).astype(np.uint16)
        values[0, 0] = brightest
        Image.fromarray(values).save(photos / f"{i}.png")
    (photos / "scan.dcm").write_bytes(b"\0" * 128 + b"DICM")
    tiny.write_weights(tmp_path / "weights.safetensors")
    return tmp_path


def config(folder: Path, **options: object) -> ExtractConfig:
    return ExtractConfig(
        images=folder / "photos",
        out=folder / "masks",
        weights=folder / "weights.safetensors",
        method="cam",
        refine=("none",),
        tta="fast",
        device="cpu",
        workers=0,
        **options,
    )


def test_the_reading_is_recorded_resumed_and_inherited(folder: Path) -> None:
    result = extract(config(folder))
    assert (result.done, result.exit_code) == (2, 0)
    record = json.loads((folder / "masks" / "run.json").read_bytes())
    assert record["config"]["bits"] == 12
    assert extract(config(folder)).skipped == 2
    with pytest.raises(RecordMismatch, match="bits was 12, now 16"):
        extract(config(folder, bits=16))
    refined = refine(
        RefineConfig(
            images=folder / "photos", seeds=folder / "masks", out=folder / "refined", method=("pamr",), workers=0
        )
    )
    assert refined.done == 2
    assert json.loads((folder / "refined" / "run.json").read_bytes())["config"]["bits"] == 12


def test_what_was_passed_over_is_in_summary_and_json(folder: Path) -> None:
    result = extract(config(folder))
    assert ("ignored", "1 .dcm (DICOM)") in result.summary()
    (one,) = result.to_json()["passed_over"]
    assert (one["kind"], one["count"], one["first"]) == ("DICOM", 1, "scan.dcm")


def test_the_choices_reach_the_pixels(folder: Path) -> None:
    """An overlay shows the photo: at 16 bits the 12-bit photo is nearly black."""
    means = {}
    for bits in (12, 16):
        extract(config(folder, bits=bits, overlay=True, overwrite=True))
        means[bits] = np.asarray(Image.open(next((folder / "masks" / "overlays").glob("0.*")))).mean()
    assert means[12] > 1.5 * means[16]
