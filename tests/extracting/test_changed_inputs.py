"""extract on a folder whose photos or tags changed since: what changed is made again, and only that."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from pseudomask.config import EvaluateConfig, ExportConfig, ExtractConfig, ReportConfig
from pseudomask.errors import RecordMismatch
from pseudomask.evaluation import evaluate
from pseudomask.exporting.export import export
from pseudomask.extracting import photos as photos_module
from pseudomask.extracting.extract import extract
from pseudomask.extracting.result import ExtractResult
from pseudomask.masks import load_mask
from pseudomask.reporting.report import report
from pseudomask.running.folder_run import FolderRun

Settings = Callable[..., ExtractConfig]


@pytest.fixture
def begun(source: Path, settings: Settings, tmp_path: Path) -> ExtractConfig:
    """Three photos with a mask each, all of the test's own."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("p03", "p05", "p07"):
        shutil.copy(source / f"photos/{name}.png", photos)
    labels = tmp_path / "tags.csv"
    labels.write_text("filename,labels\np03.png,disc\np05.png,disc\np07.png,bar;square\n")
    config = settings(tmp_path / "out", images=photos, labels=labels, scales="1.0")
    assert extract(config).done == 3
    return config


def lines(out: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len({entry["key"] for entry in found}) == len(found)
    return {entry["key"]: entry for entry in found}


def redone(config: ExtractConfig, **more: Any) -> tuple[list[str], ExtractResult, tiny.Ear]:
    """Keys of the masks that were written by running the same command again."""
    ear = tiny.Ear()
    before = {path.stem: (path.stat().st_ino, path.stat().st_mtime_ns) for path in config.out.glob("*.png")}
    result = extract(replace(config, **more), ear)
    after = {path.stem: (path.stat().st_ino, path.stat().st_mtime_ns) for path in config.out.glob("*.png")}
    return sorted(key for key in after if after[key] != before.get(key)), result, ear


def repaint(path: Path, *, size: tuple[int, int] = (40, 40)) -> None:
    Image.fromarray(np.full((*size, 3), 77, np.uint8)).save(path)


def test_a_photo_that_changed_under_its_name_is_done_again_and_only_that(begun: ExtractConfig) -> None:
    repaint(begun.images / "p05.png")
    keys, result, ear = redone(begun)
    assert (keys, result.done, result.skipped, result.exit_code) == (["p05"], 3, 2, 0)
    assert load_mask(begun.out / "p05.png").shape == (40, 40)
    assert any("1 photo " in line and "p05.png" in line for line in ear.infos)
    assert redone(begun)[0] == []


def test_the_line_tells_what_the_photo_was(begun: ExtractConfig) -> None:
    status = (begun.images / "p05.png").stat()
    assert lines(begun.out)["p05"]["photo"] == {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def test_photos_that_were_added_are_done_and_the_others_stay(begun: ExtractConfig, source: Path) -> None:
    shutil.copy(source / "photos/deep/p00.png", begun.images / "new.png")
    keys, result, _ = redone(begun)
    assert (keys, result.done, result.skipped) == (["new"], 4, 3)
    assert json.loads((begun.out / "run.json").read_text())["protocol"]["images"] == 4


def test_one_changed_tag_costs_one_photo(begun: ExtractConfig) -> None:
    assert begun.labels is not None
    begun.labels.write_text("filename,labels\np03.png,bar\np05.png,disc\np07.png,square;bar\n")
    assert redone(begun)[0] == ["p03"]
    assert lines(begun.out)["p03"]["classes"] == ["bar"]
    begun.labels.write_text("filename,labels\np03.png,bar\np07.png,bar;square\n")
    assert redone(begun)[0] == ["p05"], "a row less: the classifier's turn"
    assert lines(begun.out)["p05"]["tags"] == "classifier"


def test_photos_that_are_gone_are_refused_until_they_may_go(begun: ExtractConfig) -> None:
    (begun.images / "p03.png").rename(begun.images / "renamed.png")
    (begun.images / "p05.png").unlink()
    before = sorted(begun.out.rglob("*"))
    with pytest.raises(RecordMismatch, match=r"2 photos .*first: p03.*--prune"):
        extract(begun)
    with pytest.raises(RecordMismatch, match="--prune"):
        extract(replace(begun, dry_run=True))
    assert sorted(begun.out.rglob("*")) == before
    extract(replace(begun, dry_run=True, prune=True))
    assert sorted(begun.out.rglob("*")) == before
    keys, result, _ = redone(begun, prune=True)
    assert (keys, result.done) == (["renamed"], 2)
    assert set(lines(begun.out)) == {"p07", "renamed"}
    left = {path.stem for folder in (begun.out, begun.out / "scores") for path in folder.glob("*.[np][pn][gz]")}
    assert left == {"p07", "renamed"}


def test_another_folder_of_photos_is_refused(begun: ExtractConfig, source: Path) -> None:
    with pytest.raises(RecordMismatch, match=r"3 photos .*first: p03"):
        extract(replace(begun, images=source / "photos/deep", labels=source / "photos.csv"))


def test_masks_of_photos_not_asked_for_stay(begun: ExtractConfig, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("p07\n")
    repaint(begun.images / "p07.png")
    keys, result, ear = redone(begun, list=tmp_path / "list")
    assert (keys, result.done, result.skipped) == (["p07"], 1, 0)
    assert any("2 masks of photos outside this run" in line for line in ear.infos)
    assert set(lines(begun.out)) == {"p03", "p05", "p07"}
    assert json.loads((begun.out / "run.json").read_text())["protocol"]["images"] == 3
    assert redone(begun)[0] == []


def test_a_stale_mask_that_is_not_asked_for_no_longer_counts(begun: ExtractConfig, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("p07\n")
    repaint(begun.images / "p03.png")
    assert redone(begun, list=tmp_path / "list")[0] == []
    assert "changed" in lines(begun.out)["p03"]["reason"]
    assert redone(begun)[0] == ["p03"]


def test_limit_may_grow(begun: ExtractConfig, tmp_path: Path) -> None:
    few = replace(begun, out=tmp_path / "few", limit=1)
    assert extract(few).done == 1
    assert redone(few, limit=2)[0] == ["p05"]
    assert redone(few, limit=None)[0] == ["p07"]


def test_a_touched_photo_is_done_again_unless_its_hash_is_known(begun: ExtractConfig, tmp_path: Path) -> None:
    os.utime(begun.images / "p03.png", (1, 1))
    assert redone(begun)[0] == ["p03"]
    known = replace(begun, out=tmp_path / "known", hash_photos=True)
    extract(known)
    assert len(lines(known.out)["p03"]["photo"]["sha256"]) == 64
    os.utime(begun.images / "p03.png", (2, 2))
    assert redone(known)[0] == []
    assert redone(known, hash_photos=False)[0] == [], "a noted hash decides where the times differ"


def test_content_that_changed_behind_size_and_time(begun: ExtractConfig, tmp_path: Path) -> None:
    """As some copying programs leave it; only the hash tells."""
    photo = begun.images / "same.bmp"
    repaint(photo)
    known = replace(begun, out=tmp_path / "known", hash_photos=True)
    extract(known)
    status = photo.stat()
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(photo)
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert photo.stat().st_size == status.st_size
    assert redone(known, hash_photos=False)[0] == []
    assert redone(known)[0] == ["same"]
    assert redone(known)[0] == []


def test_a_changed_photo_that_cannot_be_read_leaves_no_old_mask(begun: ExtractConfig) -> None:
    (begun.images / "p05.png").write_bytes(b"no photo")
    _, result, _ = redone(begun)
    assert (result.exit_code, result.failed) == (1, 1)
    assert not (begun.out / "p05.png").exists()
    assert not (begun.out / "scores/p05.npz").exists()
    assert lines(begun.out)["p05"]["status"] == "failed"


def test_a_run_that_stops_before_it_comes_to_them_has_no_stale_mask_that_counts(
    begun: ExtractConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("p03", "p05"):
        repaint(begun.images / f"{name}.png")

    def full(self: FolderRun, entry: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FolderRun, "note", full)
        with pytest.raises(OSError, match="space"):
            extract(begun)
    assert [key for key, line in lines_of_last(begun.out).items() if line["status"] == "done"] == ["p07"]
    assert redone(begun)[0] == ["p03", "p05"]


def lines_of_last(out: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    return {entry["key"]: entry for entry in found}


def test_a_photo_that_changes_while_it_is_read_fails(begun: ExtractConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    true_decode = photos_module.decode

    def meanwhile(path: Path, **more: Any) -> np.ndarray:
        pixels = true_decode(path, **more)
        if path.name == "p05.png":
            repaint(path)
        return pixels

    repaint(begun.images / "p05.png", size=(30, 30))
    with monkeypatch.context() as patch:
        patch.setattr(photos_module, "decode", meanwhile)
        _, result, _ = redone(begun)
    assert "changed while it was read" in result.failures["p05.png"]
    assert redone(begun)[0] == ["p05"]


def test_lines_of_the_first_version_go_by_the_masks_age(begun: ExtractConfig) -> None:
    path = begun.out / "manifest.jsonl"
    old = [{k: v for k, v in line.items() if k != "photo"} for line in lines(begun.out).values()]
    path.write_text("".join(json.dumps(line) + "\n" for line in old))
    keys, result, ear = redone(begun)
    assert (keys, result.skipped) == ([], 3)
    assert any("3 masks by a version" in line for line in ear.infos)
    repaint(begun.images / "p07.png")
    assert redone(begun)[0] == ["p07"]


def test_the_suffix_of_a_photo_is_part_of_its_name(begun: ExtractConfig) -> None:
    """The same mask's name, another photo."""
    status = (begun.images / "p05.png").stat()
    (begun.images / "p05.png").rename(begun.images / "p05.PNG")
    os.utime(begun.images / "p05.PNG", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert begun.labels is not None
    begun.labels.write_text(begun.labels.read_text().replace("p05.png", "p05.PNG"))
    assert redone(begun)[0] == ["p05"]
    assert lines(begun.out)["p05"]["image"] == "p05.PNG"


def test_a_mask_edited_by_hand_is_kept(begun: ExtractConfig) -> None:
    edited = load_mask(begun.out / "p05.png") * 0
    Image.fromarray(edited).save(begun.out / "p05.png")
    assert redone(begun)[0] == []
    assert not load_mask(begun.out / "p05.png").any()


def test_evaluate_tells_old_masks_of_changed_photos(
    begun: ExtractConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that makes them again was killed before it came to them."""
    truth, ear, clean = tmp_path / "truth", tiny.Ear(), tiny.Ear()
    shutil.copytree(begun.out, truth, ignore=lambda *_: ["run.json", "manifest.jsonl", "scores"])
    config = EvaluateConfig(pred=begun.out, gt=truth, workers=0)
    evaluate(config, clean)
    with Image.open(begun.images / "p05.png") as photo:
        repaint(begun.images / "p05.png", size=(photo.height, photo.width))
    with monkeypatch.context() as patch:
        patch.setattr("pseudomask.extracting.filling.load", interrupt)
        with pytest.raises(KeyboardInterrupt):
            extract(begun)
    evaluate(config, ear)
    assert [line for line in ear.warnings if line not in clean.warnings and "failed" in line and "p05" in line]
    assert extract(begun).failed == 0
    quiet = tiny.Ear()
    evaluate(config, quiet)
    assert quiet.warnings == clean.warnings


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_export_and_report_tell_masks_of_photos_that_changed_since(begun: ExtractConfig, tmp_path: Path) -> None:
    clean, ear = tiny.Ear(), tiny.Ear()
    export(ExportConfig(out=begun.out, dest=tmp_path / "a", format="mmseg"), clean)
    assert clean.warnings == []
    shutil.copytree(begun.images, tmp_path / "copy", copy_function=shutil.copyfile)
    export(ExportConfig(out=begun.out, dest=tmp_path / "b", format="mmseg", images=tmp_path / "copy"), clean)
    assert clean.warnings == [], "a copy has times of its own"
    with Image.open(begun.images / "p05.png") as photo:
        repaint(begun.images / "p05.png", size=(photo.height, photo.width))
    export(ExportConfig(out=begun.out, dest=tmp_path / "c", format="mmseg"), ear)
    report(ReportConfig(out=begun.out, workers=0), ear)
    assert sum("1 photo " in line and "p05.png" in line for line in ear.warnings) == 2
