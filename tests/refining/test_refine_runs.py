"""refine from end to end: workers, kills, resuming, chains."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from mortal import Greedy, Half, Mortal, Slow, with_the_mark
from PIL import Image
from planted import KEYS, THRESHOLD, Settings, files

from pseudomask.errors import RecordMismatch
from pseudomask.masks import load_mask
from pseudomask.refining import REFINERS
from pseudomask.refining.pamr import Pamr
from pseudomask.refining.refine import check_methods, refine
from pseudomask.refining.refiner import Refined
from pseudomask.refining.work import at_level, refine_one, with_levels
from pseudomask.running.record import RunRecord
from pseudomask.scores import ScoreMap, load_scores, quantise

HERE = Path(__file__).parent


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    result = refine(settings(out, scores=True, overlay=True))
    assert (result.exit_code, result.done, result.failed, result.skipped) == (0, 6, 0, 0)
    return out


def test_the_masks_are_those_of_the_refiner(whole: Path, source: Path) -> None:
    expected = {f"{k}.png" for k in KEYS} | {f"scores/{k}.npz" for k in KEYS} | {f"overlays/{k}.jpg" for k in KEYS}
    assert set(files(whole)) == expected | {"manifest.jsonl"}
    for key in KEYS:
        photo = np.asarray(Image.open(source / f"photos/{key}.png"))
        seeds = load_scores(source / f"seeds/scores/{key}.npz")
        refined = Pamr().refine(photo, seeds, THRESHOLD).scores
        mask = load_mask(whole / f"{key}.png")
        assert np.array_equal(mask, quantise(refined).mask(THRESHOLD))
        assert np.array_equal(mask, load_scores(whole / f"scores/{key}.npz").mask(THRESHOLD))
        assert (mask != seeds.mask(THRESHOLD)).any()


def test_manifest_and_record(whole: Path) -> None:
    entries = manifest(whole)
    assert [e["key"] for e in entries] == KEYS
    assert all((e["status"], e["tags"], e["image"]) == ("done", "labels", f"{e['key']}.png") for e in entries)
    assert all(set(e["area"]) | set(e["empty"]) == set(e["classes"]) for e in entries)
    record = RunRecord.read(whole / "run.json")
    assert record is not None
    assert (record.command, record.classes, record.config["method"]) == ("refine", list(tiny.CLASSES), ["pamr"])
    assert record.config["threshold"] == record.protocol["scores_threshold"] == THRESHOLD
    assert record.protocol["threshold_chosen"] == "that of SEEDS (from the weights' card)"
    assert record.protocol["seeds"]["method"] == "recam"
    assert record.weights["licence"] == "CC0-1.0"
    assert record.timings["refine"] > 0


def test_parallel_equals_serial(whole: Path, settings: Settings, tmp_path: Path) -> None:
    result = refine(settings(tmp_path / "out", scores=True, overlay=True, workers=2))
    assert result.done == 6
    assert files(tmp_path / "out") == files(whole)


def test_only_what_is_missing_is_made_again(whole: Path, settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (out / "p01.png").unlink()
    (out / "scores/p03.npz").unlink()
    result = refine(settings(out, scores=True, overlay=True))
    assert (result.done, result.skipped) == (6, 4)
    assert files(out) == files(whole)
    assert refine(settings(out)).skipped == 6, "asking for less is no other run"


def test_other_settings_do_not_mix(whole: Path, settings: Settings, source: Path, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    shutil.copytree(source / "seeds", seeds)
    record = RunRecord.read(seeds / "run.json")
    assert record is not None
    record.weights["sha256"] = "11"
    record.write(seeds / "run.json")
    before = files(whole)
    for changes, message in (
        ({"threshold": 0.5}, r"threshold was 0\.3, now 0\.5"),
        ({"pamr_iterations": 3}, "pamr_iterations was 10, now 3"),
        ({"method": ("pamr", "pamr")}, "method"),
        ({"seeds": seeds}, "the seeds differ"),
        ({"mask_mode": "index"}, "mask_mode was"),
    ):
        with pytest.raises(RecordMismatch, match=message) as caught:
            refine(settings(whole, **changes))
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
    assert files(whole) == before
    assert refine(settings(whole, crf_iterations=3)).skipped == 6, "settings of other methods decide nothing"


def test_overwrite_makes_everything_anew(whole: Path, settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    result = refine(settings(out, threshold=0.6, limit=2, overwrite=True))
    assert (result.done, result.skipped, result.threshold_from) == (2, 0, "given")
    assert set(files(out)) == {"deep/p00.png", "deep/p02.png", "manifest.jsonl"}


def test_a_chain_is_its_steps_one_after_the_other(
    whole: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in one run, or refined scores refined again: the same but for what 8 bits round."""
    monkeypatch.setitem(REFINERS, "half", lambda config: Half())
    once = refine(settings(tmp_path / "once", method=("half", "pamr"), scores=True, score_bits="16"))
    refine(settings(tmp_path / "half", method=("half",), scores=True, score_bits="16"))
    twice = refine(settings(tmp_path / "twice", seeds=tmp_path / "half", scores=True, score_bits="16"))
    assert once.exit_code == twice.exit_code == 0
    assert (once.threshold, twice.threshold) == (THRESHOLD, THRESHOLD / 2)
    for key in KEYS:
        a, b = (load_scores(tmp_path / f"{name}/scores/{key}.npz") for name in ("once", "twice"))
        assert np.abs(a.values - b.values).max() < 1e-4
        assert (load_mask(tmp_path / f"once/{key}.png") == load_mask(tmp_path / f"twice/{key}.png")).mean() > 0.999


def test_one_threshold_fits_all_scores_of_a_run(
    settings: Settings, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Half` passes photos of one class through with their old threshold; their masks must not change."""
    monkeypatch.setitem(REFINERS, "half", lambda config: Half())
    refine(settings(tmp_path / "out", method=("half",), scores=True, score_bits="16"))
    record = RunRecord.read(tmp_path / "out/run.json")
    assert record is not None
    assert record.protocol["scores_threshold"] == THRESHOLD / 2
    kinds = set()
    for key in KEYS:
        seeds = load_scores(source / f"seeds/scores/{key}.npz")
        stored = load_scores(tmp_path / f"out/scores/{key}.npz")
        kinds.add(len(seeds.classes) > 1)
        assert (stored.mask(THRESHOLD / 2) == seeds.mask(THRESHOLD)).mean() > 0.999
    assert kinds == {True, False}


@pytest.mark.parametrize(("old", "new"), [(0.2, 0.5), (0.7, 0.5), (0.0, 0.5), (1.0, 0.5), (0.5, 0.0)])
def test_moving_the_threshold_keeps_order_and_side(old: float, new: float) -> None:
    values = np.linspace(0, 1, 100, dtype=np.float32).reshape(1, 10, 10)
    values[0, 3, 3] = old
    moved = at_level(Refined(ScoreMap((1,), values, (10, 10), 1), old), new).values
    assert np.array_equal(moved > np.float32(new), values > np.float32(old))
    assert (np.diff(moved.ravel()[np.argsort(values.ravel())]) >= 0).all()
    assert (moved.min(), moved.max()) >= (0, 0)


def test_r22_a_killed_worker_loses_one_photo(
    settings: Settings, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = with_the_mark(source / "photos", tmp_path / "photos")
    monkeypatch.setitem(REFINERS, "mortal", lambda config: Mortal())
    ear = tiny.Ear()
    result = refine(settings(tmp_path / "out", images=photos, method=("mortal",), workers=2), ear)
    assert (result.exit_code, result.done, result.failed) == (1, 5, 1)
    assert result.failures == {"p01.png": "its worker process died (SIGKILL; out of memory?)"}
    assert "p01.png: its worker process died (SIGKILL; out of memory?)" in ear.warnings
    assert [e["key"] for e in manifest(tmp_path / "out")] == KEYS


def test_too_little_memory_is_one_photos_failure(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REFINERS, "greedy", lambda config: Greedy())
    result = refine(settings(tmp_path / "out", method=("greedy",), limit=1, max_failures=1))
    assert (result.failures, result.exit_code) == ({"deep/p00.png": "not enough memory to refine it"}, 0)


@pytest.mark.parametrize(("number", "code", "workers"), [(signal.SIGTERM, 143, 0), (signal.SIGINT, 130, 1)])
def test_a_stopped_run_goes_on(
    whole: Path, settings: Settings, tmp_path: Path, number: int, code: int, workers: int
) -> None:
    ear, out = tiny.StopsAt(2, number), tmp_path / "out"
    first = refine(settings(out, scores=True, overlay=True, workers=workers), ear)
    assert (first.exit_code, "stopped; run the same command again to resume" in ear.warnings) == (code, True)
    assert 2 <= first.done <= 3 + workers
    second = refine(settings(out, scores=True, overlay=True))
    assert (second.exit_code, second.done, second.skipped) == (0, 6, first.done)
    assert files(out) == files(whole)


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_and_leaves_no_worker(source: Path, tmp_path: Path) -> None:
    pids, environment = tmp_path / "pids", os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    pids.mkdir()

    def start(out: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(HERE / "refine_child.py"), str(source / "photos"), str(source / "seeds")]
        return subprocess.Popen([*command, str(tmp_path / out), str(pids)], env=environment)

    with start("whole") as running:
        assert running.wait() == 0
    for moment in (0.1, 0.4):
        known = set(pids.iterdir())
        with start("out") as running:
            while set(pids.iterdir()) == known and running.poll() is None:
                time.sleep(0.02)
            time.sleep(moment)
            running.kill()
        deadline = time.monotonic() + 60
        while any(Path("/proc", one.name).exists() for one in pids.iterdir()):
            assert time.monotonic() < deadline, "a worker outlived its parent"
            time.sleep(0.1)
        for path in (tmp_path / "out").rglob("*.png"):
            load_mask(path)  # never half of one
    with start("out") as running:
        assert running.wait() == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob("*.part"))


def test_the_default_method(settings: Settings, tmp_path: Path) -> None:
    assert check_methods(settings(tmp_path, method=())) == ("crf",)
    assert check_methods(settings(tmp_path, method=(), affinity=tmp_path / "w")) == ("walk",)


def test_refiners_see_each_others_work() -> None:
    scores = ScoreMap((1, 2), np.full((2, 4, 4), 0.8, np.float32), (4, 4), 1)
    refined = refine_one(with_levels((Half(), Half()), 0.4, tiny.CLASSES), np.zeros((4, 4, 3), np.uint8), scores, 0.4)
    assert (refined.threshold, float(refined.scores.values[0, 0, 0])) == (pytest.approx(0.1), pytest.approx(0.2))
    assert Slow(Path()).seconds > 0
