"""extract --refine: the masks of extract followed by refine, in one pass."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import pseudomask
from pseudomask.cli import app
from pseudomask.config import ExportConfig, ExtractConfig, RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import PseudomaskError, RecordMismatch, UsageError, WeightsError
from pseudomask.exporting.export import export
from pseudomask.extracting import extract as bare
from pseudomask.extraction import extract
from pseudomask.measuring.evaluate import evaluate
from pseudomask.refining import crf
from pseudomask.refining.proposal_files import file_of, save_proposals
from pseudomask.refining.refine import refine
from pseudomask.refining.refiner import Refined
from pseudomask.refining.seeds import read_seeds
from pseudomask.reporting.folder import read_folder
from pseudomask.reporting.report import folder_page
from pseudomask.running.made import MadeFolder

Settings = Callable[..., ExtractConfig]
CRF: dict[str, Any] = {"refine": ("crf",), "crf_iterations": 3, "crf_unary": "soft", "crf_gt_prob": 0.8}


def bytes_of(out: Path, pattern: str = "*") -> dict[str, bytes]:
    found = (p for p in out.rglob(pattern) if p.is_file() and p.name != "run.json")
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in found}


def lines(out: Path) -> dict[str, dict[str, Any]]:
    return {entry["key"]: entry for entry in map(json.loads, (out / "manifest.jsonl").read_text().splitlines())}


def write_tiles(photos: Path, folder: Path) -> Path:
    """Proposals for every photo: its tiles of 16 × 16 pixels."""
    for path in photos.rglob("*.*"):
        size = decode(path).shape[:2]
        rows, columns = np.indices(size) // 16
        masks = [(rows == y) & (columns == x) for y in np.unique(rows) for x in np.unique(columns)]
        save_proposals(file_of(folder, path.relative_to(photos).with_suffix("").as_posix()), masks, size, {})
    return folder


@pytest.fixture(scope="session")
def affinity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_affinity(tmp_path_factory.mktemp("affinity"))


@pytest.fixture(scope="module")
def seeds(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("seeds") / "out"
    assert extract(settings(out)).exit_code == 0
    return out


@pytest.fixture(scope="module")
def fused(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fused") / "out"
    assert extract(settings(out, **CRF)).exit_code == 0
    return out


@pytest.mark.parametrize(
    ("chain", "more"),
    [
        (("crf",), {}),
        (("crf",), {"crf_unary": "soft", "crf_iterations": 3, "score_bits": "16"}),
        (("pamr",), {"pamr_iterations": 4}),
        (("walk",), {"walk_steps": 4}),
        (("walk",), {"walk_seeds": 0.4, "walk_steps": 4}),
        (("superpixels",), {}),
        (("proposals", "crf"), {}),
        (("walk", "crf"), {"walk_beta": 3.0, "mask_mode": "index", "overlay": True}),
    ],
)
def test_masks_are_those_of_extract_then_refine(
    settings: Settings, source: Path, affinity: Path, tmp_path: Path, chain: tuple[str, ...], more: dict[str, Any]
) -> None:
    """Byte for byte, with the seeds of a run without --refine; `refine` on the fused folder starts from the seeds."""
    shared = {name: more[name] for name in more if name not in ("score_bits", "overlay")}
    own = {name: more[name] for name in ("score_bits",) if name in more}
    affine = {"affinity": affinity} if "walk" in chain else {}
    if "proposals" in chain:
        affine = {"proposals": write_tiles(source / "photos", tmp_path / "regions")}
    assert extract(settings(tmp_path / "seeds", **own)).exit_code == 0
    result = extract(settings(tmp_path / "fused", refine=chain, **more, **affine))
    assert (result.exit_code, result.done, result.refined_by) == (0, 8, chain)
    again = RefineConfig(
        images=source / "photos",
        seeds=tmp_path / "seeds",
        out=tmp_path / "apart",
        method=chain,
        device="cpu",
        amp="off",
        workers=0,
        **shared,
        **own,
        **affine,
    )
    apart = refine(again)
    assert result.masks_threshold == apart.scores_threshold
    masks = bytes_of(tmp_path / "apart", "*.png")
    assert len(masks) == 8
    assert bytes_of(tmp_path / "fused", "*.png") == masks
    assert bytes_of(tmp_path / "fused/scores") == bytes_of(tmp_path / "seeds/scores")
    assert masks != bytes_of(tmp_path / "seeds", "*.png"), "a refiner that changes nothing shows nothing"
    assert len(list((tmp_path / "fused").rglob("*.jpg"))) == (8 if "overlay" in more else 0)
    refine(replace(again, seeds=tmp_path / "fused", out=tmp_path / "third"))
    assert bytes_of(tmp_path / "third", "*.png") == masks
    assert read_seeds(tmp_path / "fused", None).hash == read_seeds(tmp_path / "seeds", None).hash


def test_each_photo_is_decoded_once(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def count(path: Path, **more: Any) -> np.ndarray:
        seen.append(path)
        return decode(path, **more)

    for place in ("extracting.photos", "refining.work"):
        monkeypatch.setattr(f"pseudomask.{place}.decode", count)
    extract(settings(tmp_path / "out", **CRF))
    assert len(seen) == len(set(seen)) == 8


def test_record_manifest_and_readers_tell_both_thresholds(fused: Path, tmp_path: Path) -> None:
    protocol = json.loads((fused / "run.json").read_text())["protocol"]
    assert (protocol["threshold"], protocol["refined_by"]) == (0.3, "crf")
    level = protocol["masks_threshold"]
    assert level != 0.3
    for entry in lines(fused).values():
        assert (entry["threshold"], entry["masks_threshold"], entry["refined"]) == (0.3, level, "crf")
    made = MadeFolder(fused)
    assert (made.threshold, made.masks_threshold) == (0.3, level)
    assert "moved" not in made.threshold_chosen
    assert "moved from 0.3 by crf" in made.masks_chosen
    assert read_seeds(fused, None).threshold == 0.3
    assert evaluate(fused, fused).protocol.threshold == level
    export(ExportConfig(out=fused, dest=tmp_path / "dest", format="coco"))
    assert f"refined by: crf, threshold: {level:g}, " in (tmp_path / "dest/README.md").read_text("utf-8")


def test_a_stopped_run_ends_with_the_same_bytes(fused: Path, settings: Settings, tmp_path: Path) -> None:
    config = settings(tmp_path / "out", batch_size=2, **CRF)
    first = extract(config, tiny.StopsAt(3, signal.SIGTERM))
    assert first.exit_code == 143
    assert 0 < first.done < 8
    second = extract(config)
    assert (second.exit_code, second.done, second.skipped) == (0, 8, first.done)
    whole = tmp_path / "whole"
    extract(replace(config, out=whole))
    assert bytes_of(tmp_path / "out") == bytes_of(whole)
    assert extract(config).skipped == 8


def test_a_photo_that_cannot_be_refined_keeps_its_seed_mask(
    settings: Settings, seeds: Path, fused: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, errors = crf.Crf.refine_batch, iter([MemoryError(), ValueError("odd"), PseudomaskError("broken")])
    probe = [True]

    def fail(self: Any, photos: Any, *more: Any) -> list[Refined]:
        if not probe and (error := next(errors, None)):
            raise error
        probe.clear()  # the first call finds the level
        return true(self, photos, *more)

    config, ear = settings(tmp_path / "out", **CRF), tiny.Ear()
    with monkeypatch.context() as patch:
        patch.setattr(crf.Crf, "refine_batch", fail)
        result = extract(config, ear)
    assert (result.exit_code, result.done, result.failed, len(result.unrefined)) == (1, 8, 0, 3)
    assert any("not refined" in row for row in map(str, result.summary()))
    found = lines(config.out)
    bad = {key for key, entry in found.items() if "unrefined" in entry}
    assert len(bad) == 3
    assert {found[key]["unrefined"] for key in bad} == {"not enough memory to refine it", "odd", "broken"}
    assert sum("the seed's mask is kept" in line for line in ear.warnings) == 3
    for key, entry in found.items():
        assert (config.out / f"{key}.png").read_bytes() == (
            (seeds if key in bad else fused) / f"{key}.png"
        ).read_bytes()
        assert entry["status"] == "done"
        assert ("refined" in entry) == (key not in bad)
        assert entry["masks_threshold"] == (0.3 if key in bad else found[min(set(found) - bad)]["masks_threshold"])
    again = extract(config)
    assert (again.exit_code, again.skipped, again.unrefined) == (0, 5, {})
    assert bytes_of(config.out, "*.png") == bytes_of(fused, "*.png")


def test_max_failures_counts_them(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = crf.Crf.refine_batch

    def fail(self: Any, photos: Any, *more: Any) -> list[Refined]:
        if photos[0].shape[:2] != (32, 32):  # that is the photo that finds the level
            raise MemoryError
        return true(self, photos, *more)

    monkeypatch.setattr(crf.Crf, "refine_batch", fail)
    config = settings(tmp_path / "out", limit=2, **CRF)
    for most, code in ((2, 0), (1, 1)):
        result = extract(replace(config, max_failures=most))
        assert (result.exit_code, result.skipped, len(result.unrefined)) == (code, 0, 2), "they are tried again"


def test_settings_of_the_chain_decide_the_run(
    settings: Settings, seeds: Path, fused: Path, affinity: Path, tmp_path: Path
) -> None:
    dry = {"dry_run": True}
    assert extract(settings(fused, **CRF | dry, pamr_side=50)).pending == 0, "pamr does not run"
    for other in ({"crf_iterations": 4}, {"refine": ("none",)}, {"refine": ("pamr",)}):
        with pytest.raises(RecordMismatch):
            extract(settings(fused, **CRF | dry | other))
    assert extract(settings(seeds, refine=("none",), crf_side=99, **dry)).pending == 0
    with pytest.raises(RecordMismatch, match="refine"):
        extract(settings(seeds, **CRF | dry))
    walk = settings(tmp_path / "walk", refine=("walk",), affinity=affinity)
    extract(walk)
    torch.manual_seed(1)
    with pytest.raises(RecordMismatch, match="boundary_sha256"):
        extract(replace(walk, affinity=tiny.write_affinity(tmp_path, seed=5)))


def test_mistakes_are_found_before_any_photo(settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for chain, error, word in (
        (("crv",), UsageError, "--refine 'crv' must be one of .*crf"),
        (("none", "crf"), UsageError, "none"),
        (("walk", "crf"), WeightsError, "train-affinity .*--affinity"),
    ):
        with pytest.raises(error, match=word):
            extract(settings(out, refine=chain))
    with pytest.raises(UsageError, match="--crf-gt-prob"):
        extract(settings(out, refine=("crf",), crf_gt_prob=2.0))
    with pytest.raises(PseudomaskError, match="refine"):
        bare.extract(settings(out, refine=("crf",)))
    assert not out.exists()


def test_a_boundary_head_that_nothing_uses_is_reported(settings: Settings, affinity: Path, tmp_path: Path) -> None:
    for chain, warnings in ((("none",), 1), (("crf",), 1), (("walk",), 0)):
        ear = tiny.Ear()
        extract(settings(tmp_path / "out", refine=chain, affinity=affinity, dry_run=True), ear)
        assert sum("--affinity has no effect" in line for line in ear.warnings) == warnings


def test_on_the_command_line(source: Path, fused: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--labels", str(source / "photos.csv"), "--weights", str(source / "weights.safetensors"), "--amp", "off"]
    settled = ["--method", "recam", "--tta", "balanced", "--refine", "crf", "--crf-iterations", "3"]
    settled += ["--crf-unary", "soft", "--crf-gt-prob", "0.8"]
    place = [str(source / "photos"), str(tmp_path / "out"), "--device", "cpu", "--workers", "0"]
    assert app.run(["extract", *place, *words, *settled]) == 0
    assert "refined by crf (threshold afterwards" in " ".join(capsys.readouterr().err.split())
    assert bytes_of(tmp_path / "out", "*.png") == bytes_of(fused, "*.png")
    assert pseudomask.extract is extract


def test_an_automatic_threshold_is_refused_with_the_commands_that_choose_it(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"extract .*--refine none.*refine .*--threshold auto"):
        extract(settings(tmp_path / "out", threshold="auto"))
    assert not (tmp_path / "out").exists()


def test_the_page_marks_masks_that_were_not_refined(fused: Path, tmp_path: Path) -> None:
    """They come first, and their number stands among the facts."""
    shutil.copytree(fused, tmp_path / "out")
    found = lines(fused)
    last = max(found)
    del found[last]["refined"]
    found[last]["unrefined"] = "odd"
    (tmp_path / "out/manifest.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in found.values()))
    page = folder_page(read_folder(tmp_path / "out", None), MadeFolder(tmp_path / "out").masks())
    assert (page.panels[0].key, [panel.signs.unrefined for panel in page.panels]) == (last, [True] + [False] * 7)
    assert ("not refined", "1") in page.facts
    assert [panel.row()[12:] for panel in page.panels] == [[1]] + [[]] * 7
