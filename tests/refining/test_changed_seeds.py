"""refine on a folder whose photos or seeds changed since: what changed is refined again, and only that."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from planted import KEYS, Settings, blurred

from pseudomask.config import RefineConfig
from pseudomask.errors import PseudomaskError, RecordMismatch
from pseudomask.masks import load_mask
from pseudomask.refining.refine import refine
from pseudomask.running.identity import identify
from pseudomask.running.layout import MANIFEST, RECORD, Outputs
from pseudomask.running.manifest import Manifest
from pseudomask.running.record import RunRecord
from pseudomask.scores import load_scores, save_scores


@pytest.fixture
def begun(source: Path, settings: Settings, tmp_path: Path) -> RefineConfig:
    for name in ("photos", "seeds"):
        shutil.copytree(source / name, tmp_path / name)
    config = settings(tmp_path / "out", images=tmp_path / "photos", seeds=tmp_path / "seeds")
    assert refine(config).done == 6
    return config


def redone(config: RefineConfig) -> list[str]:
    """Keys of the masks that were written by running the same command again."""
    masks = [Outputs(key, config.out).mask for key in KEYS]
    before = [path.stat().st_mtime_ns if path.exists() else 0 for path in masks]
    refine(config)
    return [key for key, path, old in zip(KEYS, masks, before, strict=True) if path.stat().st_mtime_ns != old]


def repaint(path: Path, key: str, seeds: Path, *, size: tuple[int, int]) -> None:
    """Another photo under the old name; with its seed, as extract would make it."""
    pixels = tiny.draw(["disc"], size, np.random.default_rng(9))
    Image.fromarray(pixels).save(path)
    save_scores(Outputs(key, seeds).scores, blurred(pixels))


def test_a_seed_that_was_made_again_is_refined_again_and_only_that(begun: RefineConfig) -> None:
    assert redone(begun) == []
    repaint(begun.images / "p03.png", "p03", begun.seeds, size=(40, 56))
    assert redone(begun) == ["p03"]
    assert load_mask(begun.out / "p03.png").shape == (40, 56)
    assert redone(begun) == []


def test_scores_alone_that_changed(begun: RefineConfig) -> None:
    """Another tag of the same photo."""
    path = Outputs("p01", begun.seeds).scores
    old = load_scores(path)
    save_scores(path, replace(old, values=old.values * 0.9))
    assert redone(begun) == ["p01"]


def test_extract_it_again_is_true(begun: RefineConfig) -> None:
    """The photo changed, its seed not yet: told, and no old mask stays for it; then it is mended."""
    pixels = tiny.draw(["disc"], (40, 56), np.random.default_rng(9))
    Image.fromarray(pixels).save(begun.images / "p03.png")
    result = refine(begun)
    assert "extract it again" in result.failures["p03.png"]
    assert not (begun.out / "p03.png").exists()
    save_scores(Outputs("p03", begun.seeds).scores, blurred(pixels))
    result = refine(begun)
    assert (result.done, result.skipped, result.failed) == (6, 5, 0)


def test_a_seed_that_extract_calls_stale_is_not_refined(begun: RefineConfig) -> None:
    manifest = begun.seeds / "manifest.jsonl"
    with manifest.open("a") as file:
        file.write(json.dumps({"key": "p03", "image": "p03.png", "status": "failed", "reason": "it changed"}) + "\n")
    fresh, ear = replace(begun, out=begun.out.parent / "fresh"), tiny.Ear()
    assert refine(fresh, ear).done == 5
    assert not (fresh.out / "p03.png").exists()
    assert any("p03, because it changed" in line for line in ear.warnings)


def test_photos_and_seeds_that_come_and_go(begun: RefineConfig) -> None:
    repaint(begun.images / "new.png", "new", begun.seeds, size=(40, 40))
    result = refine(begun)
    assert (result.done, result.skipped) == (7, 6)
    Outputs("new", begun.seeds).scores.unlink()
    with pytest.raises(RecordMismatch, match=r"1 photo .*first: new.*--prune"):
        refine(begun)
    result = refine(replace(begun, prune=True))
    assert (result.done, result.skipped) == (6, 6)
    assert not (begun.out / "new.png").exists()


def test_auto_is_the_threshold_that_the_folder_was_begun_with(begun: RefineConfig) -> None:
    """Else one photo more would move it a little, and all masks were refused."""
    auto = replace(begun, out=begun.out.parent / "auto", threshold="auto")
    first = refine(auto)
    for key in KEYS[:4]:
        repaint(begun.images / f"{key}.png", key, begun.seeds, size=(44, 60))
    again = refine(auto)
    assert (again.threshold, again.skipped) == (first.threshold, 2)


def note_photos(config: RefineConfig) -> None:
    """The seeds' record and manifest as extract writes them: they tell what each photo was."""
    record = RunRecord.read(config.seeds / RECORD)
    assert record is not None
    record.config["images"] = str(config.images)
    record.write(config.seeds / RECORD)
    for key in KEYS:
        photo = identify(config.images / f"{key}.png").to_json()
        Manifest(config.seeds / MANIFEST).append({"key": key, "image": f"{key}.png", "status": "done", "photo": photo})


def swap(photo: Path) -> None:
    """Another picture of the same size under the same name."""
    with Image.open(photo) as old:
        Image.fromarray(255 - np.asarray(old)).save(photo)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_scores_of_another_photo_are_not_refined(begun: RefineConfig, tmp_path: Path, elsewhere: bool) -> None:
    note_photos(begun)
    if elsewhere:  # the times of a copy tell nothing, its sizes do
        shutil.copytree(begun.images, tmp_path / "copy", copy_function=shutil.copyfile)
        begun = replace(begun, images=tmp_path / "copy")
    ear = tiny.Ear()
    assert refine(replace(begun, out=tmp_path / "sound"), ear).exit_code == 0
    assert ear.warnings == []
    swap(begun.images / "p03.png")
    for out in (begun.out, tmp_path / "fresh"):
        result = refine(replace(begun, out=out), ear)
        assert (result.exit_code, result.done, list(result.failures)) == (1, 5, ["p03.png"])
        assert "extract it again" in result.failures["p03.png"]
        assert not (out / "p03.png").exists()


def test_a_time_alone_is_forgiven_where_a_hash_was_noted(begun: RefineConfig) -> None:
    note_photos(begun)
    path = begun.images / "p03.png"
    entry = {"key": "p03", "image": "p03.png", "status": "done", "photo": identify(path, hashed=True).to_json()}
    Manifest(begun.seeds / MANIFEST).append(entry)
    os.utime(path, (1, 1))
    assert refine(begun).exit_code == 0


def test_seeds_that_another_run_makes_anew_stop_the_refining(begun: RefineConfig) -> None:
    """extract --overwrite began in SEEDS after refine had looked at it."""

    class Meddler(tiny.Ear):
        def info(self, text: str) -> None:
            if "at a time" in text:
                record = RunRecord.read(begun.seeds / RECORD)
                assert record is not None
                record.config["max_side"] = 97
                record.write(begun.seeds / RECORD)

    with pytest.raises(PseudomaskError, match=r"was removed or replaced.*--overwrite"):
        refine(replace(begun, overwrite=True), Meddler())
    assert not (begun.out / MANIFEST).exists()
    assert refine(replace(begun, overwrite=True)).exit_code == 0


def test_seeds_that_the_same_run_goes_on_with_do_not_stop_it(begun: RefineConfig) -> None:
    class Meddler(tiny.Ear):
        def info(self, text: str) -> None:
            if "at a time" in text:
                record = RunRecord.read(begun.seeds / RECORD)
                assert record is not None
                record.timings = {"extract": 17.0}
                record.write(begun.seeds / RECORD)

    assert refine(replace(begun, overwrite=True), Meddler()).exit_code == 0
