"""extract --update: a folder made with other settings, or from other tags, becomes what a fresh run would make."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from pseudomask.config import ExtractConfig
from pseudomask.errors import RecordMismatch, UsageError
from pseudomask.extracting.extract import extract
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.manifest import Manifest

Settings = Callable[..., ExtractConfig]


@pytest.fixture
def begun(source: Path, settings: Settings, tmp_path: Path) -> ExtractConfig:
    """A folder of three masks, with photos and tags of the test's own."""
    photos, labels = tmp_path / "photos", tmp_path / "tags.csv"
    photos.mkdir()
    for name in ("p03", "p05", "p07"):
        shutil.copy(source / f"photos/{name}.png", photos)
    labels.write_text("filename,labels\np03.png,disc\np05.png,disc\np07.png,bar;square\n")
    config = settings(tmp_path / "out", images=photos, labels=labels, scales="1.0")
    assert extract(config).done == 3
    return config


def tree(out: Path) -> dict[str, bytes]:
    """All that the masks consist of; run.json has times."""
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix in (".png", ".npz", ".jpg", ".jsonl"))
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def fresh(config: ExtractConfig) -> dict[str, bytes]:
    out = config.out.with_name("fresh")
    extract(replace(config, out=out, update=False))
    return tree(out)


def inodes(out: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_ino for path in out.glob("*.png")}


def test_new_photos_and_changed_tags_cost_no_other_mask(begun: ExtractConfig, source: Path) -> None:
    assert begun.labels is not None
    shutil.copy(source / "photos/deep/p00.png", begun.images / "new.png")
    begun.labels.write_text("filename,labels\np03.png,bar\np05.png,disc\np07.png,bar;square\nnew.png,disc\n")
    before, config = inodes(begun.out), replace(begun, update=True)
    result = extract(config)
    assert (result.done, result.skipped) == (4, 2)
    assert {key for key, inode in inodes(begun.out).items() if before.get(key) == inode} == {"p05", "p07"}
    assert tree(begun.out) == fresh(config)


def test_other_settings_are_refused_without_it_and_taken_up_with_it(begun: ExtractConfig) -> None:
    changed = replace(begun, threshold=0.6, scores=False)
    before = tree(begun.out)
    with pytest.raises(RecordMismatch, match="threshold was"):
        extract(changed)
    assert tree(begun.out) == before
    ear = tiny.Ear()
    assert extract(replace(changed, update=True), ear).done == 3
    assert any("--update remakes 3 masks" in line and "threshold was 0.3, now 0.6" in line for line in ear.infos)
    assert tree(begun.out) == fresh(changed) != before
    assert not list(begun.out.rglob("*.npz"))
    assert extract(changed).skipped == 3, "the folder is now that of the new settings"


def test_tags_given_later_cost_only_the_photos_that_have_them(begun: ExtractConfig) -> None:
    assert begun.labels is not None
    without = replace(begun, labels=None, overwrite=True)
    extract(without)
    begun.labels.write_text("filename,labels\np05.png,disc\n")
    with pytest.raises(RecordMismatch, match="has --labels"):
        extract(begun)
    before, config = inodes(begun.out), replace(begun, update=True)
    assert extract(config).skipped == 2
    assert {key for key, inode in inodes(begun.out).items() if before.get(key) == inode} == {"p03", "p07"}
    assert tree(begun.out) == fresh(config)


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_stopped_anywhere_it_goes_on_to_the_same_bytes(
    begun: ExtractConfig, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Stopped while the old masks are marked, before the new record, and after the first new mask."""
    changed = replace(begun, threshold=0.6, update=True)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == 1:
            patch.setattr(Manifest, "append", second_append_killed())
        elif moment == 2:
            patch.setattr("pseudomask.running.record.RunRecord.write", killed)
        else:
            patch.setattr(FolderRun, "note", note_then_kill())
        with pytest.raises(KeyboardInterrupt):
            extract(changed)
    if moment == 3:  # what is left belongs to the new settings alone
        assert extract(replace(changed, update=False)).done == 3
    else:
        assert extract(changed).done == 3
    assert tree(begun.out) == fresh(changed)


def second_append_killed() -> Callable[..., None]:
    real, calls = Manifest.append, itertools.count(1)

    def append(self: Manifest, entry: Any) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        real(self, entry)

    return append


def note_then_kill() -> Callable[..., None]:
    real = FolderRun.note

    def note(self: FolderRun, entry: Any) -> None:
        real(self, entry)
        raise KeyboardInterrupt

    return note


def test_masks_of_photos_outside_the_run_are_not_lost(begun: ExtractConfig) -> None:
    before = tree(begun.out)
    with pytest.raises(RecordMismatch, match="2 masks of photos outside this run"):
        extract(replace(begun, threshold=0.6, update=True, limit=1))
    assert tree(begun.out) == before


def test_photos_that_are_gone_still_need_prune(begun: ExtractConfig) -> None:
    (begun.images / "p05.png").unlink()
    with pytest.raises(RecordMismatch) as found:
        extract(replace(begun, threshold=0.6, update=True))
    assert "--prune" in str(found.value.advice)
    config = replace(begun, threshold=0.6, update=True, prune=True)
    assert extract(config).pruned == 1
    assert tree(begun.out) == fresh(config)


def test_it_does_not_go_with_overwrite(begun: ExtractConfig) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        extract(replace(begun, update=True, overwrite=True))
