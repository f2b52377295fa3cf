"""Large photos are decoded one at a time, and read again for their overlay: the files are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from pseudomask.api import extract
from pseudomask.config import ExtractConfig
from pseudomask.extracting import flow, photos
from pseudomask.running.identity import TOUCHED


def files(out: Path) -> dict[str, bytes]:
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def config(place: Path, name: str) -> ExtractConfig:
    return ExtractConfig(
        images=place / "photos",
        out=place / name,
        labels=place / "photos.csv",
        weights=place / "w.safetensors",
        scales="1.0",
        method="cam",
        refine=("pamr",),
        overlay=True,
        device="cpu",
        amp="off",
        workers=0,
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny.write_photos(tmp_path / "photos", 3)
    tiny.write_weights(tmp_path / "w.safetensors", thresholds={"first": 0.3})
    assert extract(config(tmp_path, "usual")).done == 3
    for module in (flow, photos):
        monkeypatch.setattr(module, "WHOLE", 0)
    monkeypatch.setattr(photos, "LARGE", 0)
    monkeypatch.setattr(photos, "_NEVER_LARGE", 0)
    return tmp_path


def test_the_same_files(place: Path) -> None:
    assert extract(config(place, "large")).done == 3
    usual = files(place / "usual")
    assert sum(name.startswith("overlays/") for name in usual) == 3
    assert files(place / "large") == usual


def test_one_that_changed_in_between_fails(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = photos.Photos.whole

    def changed(self: photos.Photos, photo: photos.Photo) -> object:
        self.paths[photo.index].touch()
        return whole(self, photo)

    monkeypatch.setattr(photos.Photos, "whole", changed)
    result = extract(config(place, "large"))
    assert (result.done, set(result.failures.values())) == (0, {TOUCHED})
