"""The refiner sam, with a tiny model of random weights; most of it is skipped without the extra [foundation]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
from planted import KEYS, Settings

from pseudomask.errors import MissingExtra, UsageError, WeightsError
from pseudomask.refining import sam
from pseudomask.refining.proposal_files import file_of, load_proposals
from pseudomask.refining.refine import refine


def test_sam_without_its_extra_or_a_model(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--sam-model"):
        refine(settings(tmp_path / "out", method=("sam",)))
    monkeypatch.setattr(sam, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'pseudomask\[foundation\]'"):
        refine(settings(tmp_path / "out", method=("sam",), sam_model="facebook/sam2.1-hiera-small"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.write_sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each photo that the model sees."""
    found: list[int] = []
    masks = sam.Sam.masks

    def counted(self: sam.Sam, photo: np.ndarray) -> list[np.ndarray]:
        found.append(1)
        return masks(self, photo)

    monkeypatch.setattr(sam.Sam, "masks", counted)
    return found


def test_regions_are_kept_and_made_once(settings: Settings, tmp_path: Path, model: str, seen: list[int]) -> None:
    loose = {"sam_model": model, "sam_points": 2, "sam_iou": 0.0, "sam_stability": 0.0}
    assert refine(settings(tmp_path / "one", method=("sam",), **loose)).exit_code == 0
    assert len(seen) == 6
    kept = tmp_path / "one/proposals"
    assert all(load_proposals(file_of(kept, key)).runs for key in KEYS)
    assert refine(settings(tmp_path / "two", method=("sam",), proposals=kept, **loose)).exit_code == 0
    assert len(seen) == 6, "all are in the folder"
    # The refiner that reads folders makes the same of them.
    assert refine(settings(tmp_path / "three", method=("proposals",), proposals=kept)).exit_code == 0
    for key in KEYS:
        masks = {(tmp_path / name / f"{key}.png").read_bytes() for name in ("one", "two", "three")}
        assert len(masks) == 1


def test_other_settings_make_other_regions(settings: Settings, tmp_path: Path, model: str, seen: list[int]) -> None:
    shared = {"sam_model": model, "sam_points": 2, "proposals": tmp_path / "kept", "method": ("sam",)}
    refine(settings(tmp_path / "one", sam_iou=0.0, sam_stability=0.0, **shared))
    refine(settings(tmp_path / "two", sam_iou=1.0, sam_stability=1.0, **shared))
    assert len(seen) == 12
    assert not any(load_proposals(file_of(tmp_path / "kept", key)).runs for key in KEYS)


def test_regions_from_elsewhere_are_not_replaced(settings: Settings, tmp_path: Path, model: str) -> None:
    proposals = tmp_path / "proposals"
    proposals.mkdir()
    file_of(proposals, "p03").write_text("[]")
    with pytest.raises(UsageError, match=r"p03\.json: sam did not make"):
        refine(settings(tmp_path / "out", method=("sam",), proposals=proposals, sam_model=model))
    assert file_of(proposals, "p03").read_text() == "[]"


def test_a_model_of_another_kind(settings: Settings, tmp_path: Path, model: str) -> None:
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="a bert model, not SAM"):
        refine(settings(tmp_path / "out", method=("sam",), sam_model=str(folder)))
    with pytest.raises(WeightsError, match="not a folder that `save_pretrained` wrote"):
        refine(settings(tmp_path / "out", method=("sam",), sam_model=str(tmp_path)))
