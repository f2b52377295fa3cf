"""refine on a folder whose photos or seeds changed since: what changed is refined again, and only that."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from planted import KEYS, Settings, blurred

from pseudomask.config import RefineConfig
from pseudomask.errors import RecordMismatch
from pseudomask.masks import load_mask
from pseudomask.refining.refine import refine
from pseudomask.running.layout import Outputs
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
    with pytest.raises(RecordMismatch, match=r"1 photos .*first: new.*--prune"):
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
