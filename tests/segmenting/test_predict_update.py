"""predict --update: other photos, tags, settings or weights, and the folder becomes what a fresh run would make."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from conftest import write_segmenter

from pseudomask.api import predict
from pseudomask.cli import app
from pseudomask.config import PredictConfig
from pseudomask.errors import RecordMismatch, UsageError
from pseudomask.reporting.folder import read_folder
from pseudomask.reviewing.again import commands
from pseudomask.reviewing.tags import Tags

NAMES = ("p01", "p03", "p05")


@pytest.fixture
def begun(place: Path, tmp_path: Path) -> PredictConfig:
    """A folder of three masks, with photos of the test's own and tags for two of them."""
    photos, labels = tmp_path / "photos", tmp_path / "tags.csv"
    photos.mkdir()
    for name in NAMES:
        shutil.copy(place / f"photos/{name}.png", photos)
    labels.write_text("filename,labels\np01.png,disc\np03.png,bar;square\n")
    config = PredictConfig(
        images=photos, out=tmp_path / "out", weights=place / "segmenter.safetensors", labels=labels,
        class_file=place / "classes.txt", device="cpu", amp="off", workers=0, scores=True,
    )  # fmt: skip
    assert predict(config).done == 3
    return replace(config, update=True)


def tree(out: Path) -> dict[str, bytes]:
    """All that the masks consist of; run.json has times."""
    kinds = (".png", ".npz", ".jsonl")
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.suffix in kinds}


def fresh(config: PredictConfig) -> dict[str, bytes]:
    out = config.out.with_name("fresh")
    predict(replace(config, out=out, update=False))
    return tree(out)


def remade(config: PredictConfig) -> set[str]:
    """Run it; which masks are new files."""
    before = {path.stem: path.stat().st_ino for path in config.out.glob("*.png")}
    assert predict(config).exit_code == 0
    now = {path.stem: path.stat().st_ino for path in config.out.glob("*.png")}
    return {name for name, inode in now.items() if before.get(name) != inode}


def test_new_photos_and_changed_tags_cost_no_other_mask(begun: PredictConfig, place: Path) -> None:
    assert begun.labels is not None
    shutil.copy(place / "photos/deep/p00.png", begun.images / "new.png")
    begun.labels.write_text("filename,labels\np01.png,square\np03.png,square;bar\n")
    assert remade(begun) == {"p01", "new"}
    assert tree(begun.out) == fresh(begun)


def test_a_changed_photo_costs_its_own_mask(begun: PredictConfig, place: Path) -> None:
    shutil.copy(place / "photos/deep/p02.png", begun.images / "p05.png")
    assert remade(begun) == {"p05"}
    assert tree(begun.out) == fresh(begun)


def test_tags_taken_away_and_given_later(begun: PredictConfig) -> None:
    without = replace(begun, labels=None, class_file=None)
    with pytest.raises(RecordMismatch, match="has --labels"):
        predict(replace(without, update=False))
    assert remade(without) == {"p01", "p03"}
    assert tree(begun.out) == fresh(without)
    assert remade(begun) == {"p01", "p03"}


def test_other_settings_and_weights_are_refused_without_it(begun: PredictConfig, tmp_path: Path) -> None:
    before = tree(begun.out)
    other = write_segmenter(tmp_path / "other.safetensors", seed=1)
    for changed, words in ((replace(begun, side=64), "side"), (replace(begun, weights=other), "weights")):
        with pytest.raises(RecordMismatch, match=words):
            predict(replace(changed, update=False))
        assert tree(begun.out) == before
        ear = tiny.Ear()
        assert predict(changed, ear).done == 3
        assert any("--update remakes 3 masks" in line for line in ear.infos)
        assert tree(begun.out) == fresh(changed) != before
        assert predict(replace(changed, update=False)).skipped == 3, "the folder is now that of the new settings"
        before = tree(begun.out)
        shutil.rmtree(tmp_path / "fresh")
        begun = changed


def test_masks_outside_the_run_are_not_lost_and_overwrite_is_another_wish(begun: PredictConfig) -> None:
    before = tree(begun.out)
    with pytest.raises(RecordMismatch, match="2 masks of photos outside this run"):
        predict(replace(begun, side=64, limit=1))
    with pytest.raises(UsageError, match="give one of them"):
        predict(replace(begun, overwrite=True))
    assert tree(begun.out) == before


def test_a_reviewers_new_tags_cost_their_own_mask(begun: PredictConfig) -> None:
    tags = Tags(read_folder(begun.out, None))
    assert tags.of("p03") == ("bar", "square")
    tags.put("p03", ("disc",))
    (line,) = commands(tags)
    before = {path.stem: path.stat().st_ino for path in begun.out.glob("*.png")}
    assert app.run([*shlex.split(line)[1:], "-q"]) == 0
    now = {path.stem: path.stat().st_ino for path in begun.out.glob("*.png")}
    assert {name for name in now if now[name] != before[name]} == {"p03"}
    assert not Tags(read_folder(begun.out, None)).marked()
