"""extract from end to end: photos and weights in, masks, scores, manifest and record out."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import pseudomask
from pseudomask import api
from pseudomask.config import ExtractConfig
from pseudomask.data.collection import Collection
from pseudomask.errors import CollisionError, LabelError, PseudomaskError, RecordMismatch, UsageError, WeightsError
from pseudomask.extracting import flow
from pseudomask.extracting.extract import extract
from pseudomask.extracting.plan import report_tags
from pseudomask.extracting.result import ExtractResult
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.multiscale import see, tag_probabilities
from pseudomask.masks import load_mask
from pseudomask.networks.checkpoint import load_network
from pseudomask.running.record import hash_file
from pseudomask.scores import load_scores

Settings = Callable[..., ExtractConfig]
KEYS = ["deep/p00", "deep/p02", "deep/p04", "deep/p06", "p03", "p05", "p07", "sömething else.v2"]


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())
    return found


def files(out: Path) -> dict[str, bytes]:
    """All that decides something, by name: the record holds times, the manifest does not."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


@pytest.fixture(scope="module")
def whole(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExtractResult, tiny.Ear]:
    out, ear = tmp_path_factory.mktemp("whole") / "out", tiny.Ear()
    return out, extract(settings(out), ear), ear


def test_all_files_are_there(whole: tuple[Path, ExtractResult, tiny.Ear]) -> None:
    out, result, ear = whole
    assert (result.exit_code, result.done, result.failed, result.skipped) == (0, 8, 0, 0)
    expected = {"manifest.jsonl", *(f"{k}.png" for k in KEYS), *(f"scores/{k}.npz" for k in KEYS)}
    assert set(files(out)) == expected
    assert [e["key"] for e in manifest(out)] == KEYS
    assert "8 photos, recam with weights.safetensors on cpu" in ear.infos
    assert not ear.warnings


def test_masks_are_the_stored_scores_above_the_threshold(
    whole: tuple[Path, ExtractResult, tiny.Ear], source: Path
) -> None:
    out, result, _ = whole
    assert (result.threshold, result.threshold_from) == (0.3, "from the weights' card")
    tags = dict(line.rsplit(",", 1) for line in (source / "photos.csv").read_text("utf-8").splitlines()[1:])
    seen = set()
    for key in KEYS:
        mask, scores = load_mask(out / f"{key}.png"), load_scores(out / f"scores/{key}.npz")
        with Image.open(source / f"photos/{key}.png") as photo:
            assert mask.shape == scores.size == (photo.height, photo.width)
        assert np.array_equal(mask, scores.mask(0.3))
        assert [tiny.CLASSES[c - 1] for c in scores.classes] == sorted(tags[f"{key}.png"].split(";"))
        assert scores.stride == 4
        seen |= set(np.unique(mask).tolist())
    assert seen == {0, 1, 2, 3}, "random weights must still show every class somewhere"


def test_the_manifest_describes_each_mask(whole: tuple[Path, ExtractResult, tiny.Ear]) -> None:
    out, _, _ = whole
    for entry in manifest(out):
        mask = load_mask(out / entry["mask"])
        assert (entry["status"], entry["tags"], entry["size"]) == ("done", "labels", list(mask.shape))
        shares = {n: float((mask == c).mean()) for c, n in enumerate(tiny.CLASSES, 1) if (mask == c).any()}
        assert entry["area"] == pytest.approx(shares, abs=1e-4)
        assert sorted([*entry["area"], *entry["empty"]]) == entry["classes"]
        assert 0 <= entry["margin"] <= 1
        assert entry["image"] == f"{entry['key']}.png"


def test_the_record_says_what_was_done(whole: tuple[Path, ExtractResult, tiny.Ear], source: Path) -> None:
    out, _, _ = whole
    found = record(out)
    assert (found["command"], found["device"], found["classes"]) == ("extract", "cpu", list(tiny.CLASSES))
    assert found["weights"] == {
        "file": "weights.safetensors",
        "sha256": hash_file(source / "weights.safetensors"),
        "licence": "CC0-1.0",
    }
    protocol = found["protocol"]
    assert (protocol["method"], protocol["recam_weights"], protocol["scales"]) == (
        "recam",
        "product",
        "1,0.5,1.5,2",
    )
    assert (protocol["threshold"], protocol["threshold_chosen"]) == (0.3, "from the weights' card")
    assert (protocol["tags"], protocol["images"]) == ("photos.csv (csv)", 8)
    assert found["config"]["amp"] == "off", "all settings are told, also those that may change"
    assert found["config"]["images"] == str(source / "photos")
    assert protocol["precision"] == "float32"
    assert found["timings"]["extract"] >= 0
    assert found["peak_memory"] > 10**6


def test_the_result_tells_people_and_programs(whole: tuple[Path, ExtractResult, tiny.Ear]) -> None:
    out, result, _ = whole
    summary = dict(result.summary())
    assert summary["done"].startswith("8 masks (")
    assert (summary["where"], summary["failed"]) == (str(out), "none")
    assert summary["made with"] == "tags photos.csv (csv); threshold 0.3, from the weights' card"
    assert summary["quality"].startswith("not measured")
    own = f"--weights {result.own_weights}"
    assert summary["next"] == f"pseudomask train-affinity {result.images} {out} RUN {own}"
    document = json.loads(json.dumps(result.to_json()))
    assert (document["schema"], document["done"], document["out"]) == (1, 8, str(out))


def test_batches_of_one_give_the_same_masks(
    whole: tuple[Path, ExtractResult, tiny.Ear], settings: Settings, tmp_path: Path
) -> None:
    out, _, _ = whole
    extract(settings(tmp_path / "one", batch_size=1))
    for key in KEYS:
        ours, theirs = (load_scores(o / f"scores/{key}.npz").values for o in (tmp_path / "one", out))
        assert np.abs(ours - theirs).max() <= 1.01 / 255  # a rounding to 8 bits may fall either way
        different = load_mask(tmp_path / f"one/{key}.png") != load_mask(out / f"{key}.png")
        assert different.mean() < 0.01


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_goes_on_where_it_stopped(
    whole: tuple[Path, ExtractResult, tiny.Ear], settings: Settings, tmp_path: Path, number: int, code: int
) -> None:
    config, ear = settings(tmp_path / "out", batch_size=2), tiny.StopsAt(3, number)
    first = extract(config, ear)
    assert first.exit_code == code
    assert 0 < first.done < 8
    assert "stopped; run the same command again to resume" in ear.warnings
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.png")}
    assert len(done) == first.done
    second = extract(replace(config, max_failures=3, device="auto" if not torch.cuda.is_available() else "cpu"))
    assert (second.exit_code, second.done, second.skipped) == (0, 8, first.done)
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert set(files(tmp_path / "out")) == set(files(whole[0]))
    assert [e["key"] for e in manifest(tmp_path / "out")] == KEYS
    assert dict(second.summary())["done"].endswith(f"{first.done} from an earlier run")


def test_only_what_is_missing_is_made_again(
    whole: tuple[Path, ExtractResult, tiny.Ear], settings: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    before = files(out)
    (out / "p03.png").unlink()
    (out / "scores/deep/p04.npz").unlink()
    result = extract(settings(out))
    assert (result.done, result.skipped) == (8, 6)
    assert set(files(out)) == set(before)
    assert extract(settings(out)).skipped == 8
    assert all(np.array_equal(load_mask(out / f"{k}.png"), load_mask(whole[0] / f"{k}.png")) for k in ("p05", "p07"))


def test_overlays_may_be_asked_for_later(settings: Settings, tmp_path: Path) -> None:
    config = settings(tmp_path / "out", limit=3, scales="1.0")
    extract(config)
    assert not (tmp_path / "out/overlays").exists()
    result = extract(replace(config, overlay=True))
    assert (result.done, result.skipped) == (3, 0)
    assert len(list((tmp_path / "out/overlays").rglob("*.jpg"))) == 3


def test_other_settings_do_not_mix(
    whole: tuple[Path, ExtractResult, tiny.Ear], settings: Settings, tmp_path: Path
) -> None:
    out, _, _ = whole
    before = files(out) | {"run.json": (out / "run.json").read_bytes()}
    other = tiny.write_weights(tmp_path / "weights.safetensors", seed=9, thresholds={"product": 0.3})
    for changes, message in (
        ({"threshold": 0.5}, r"threshold was 0\.3, now 0\.5"),
        ({"method": "cam", "threshold": 0.3}, "method was"),
        ({"recam_weights": "sum", "threshold": 0.3}, "recam_weights was"),
        ({"labels": None}, "the other does not"),
        ({"weights": other}, "the weights differ"),
    ):
        with pytest.raises(RecordMismatch, match=message) as caught:
            extract(settings(out, **changes))
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
    assert files(out) | {"run.json": (out / "run.json").read_bytes()} == before


def test_overwrite_makes_everything_anew(settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract(settings(out, limit=2, scales="1.0"))
    result = extract(settings(out, limit=2, scales="1.0", threshold=0.9, overwrite=True))
    assert (result.done, result.skipped, result.threshold_from) == (2, 0, "given")
    assert record(out)["protocol"]["threshold"] == 0.9
    for key in KEYS[:2]:
        assert np.array_equal(load_mask(out / f"{key}.png"), load_scores(out / f"scores/{key}.npz").mask(0.9))


@pytest.fixture
def few(source: Path, tmp_path: Path) -> Path:
    """Three photos of its own: tests may break them."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("p03", "p05", "p07"):
        shutil.copy(source / f"photos/{name}.png", folder)
    return folder


def test_an_unreadable_photo_fails_alone(settings: Settings, few: Path, tmp_path: Path) -> None:
    sound = (few / "p05.png").read_bytes()
    (few / "p05.png").write_bytes(sound[:100])
    config, ear = settings(tmp_path / "out", images=few, scales="1.0"), tiny.Ear()
    result = extract(config, ear)
    assert (result.exit_code, result.done, result.failed) == (1, 2, 1)
    assert list(result.failures) == ["p05.png"]
    entry = next(e for e in manifest(tmp_path / "out") if e["key"] == "p05")
    assert (entry["status"], entry["image"], entry["reason"]) == ("failed", "p05.png", result.failures["p05.png"])
    assert any(w.startswith("p05.png: ") for w in ear.warnings)
    assert not (tmp_path / "out/p05.png").exists()
    told = result.summary()
    at = told.index(("failed", "1"))
    assert told[at + 1] == ("", f"p05.png: {result.failures['p05.png']}")
    assert extract(replace(config, max_failures=1)).exit_code == 0
    (few / "p05.png").write_bytes(sound)
    mended = extract(config)
    assert (mended.exit_code, mended.done, mended.failed, mended.skipped) == (0, 3, 0, 2)
    assert mended.failures == {}


def test_truncated_photos_on_request(settings: Settings, few: Path, tmp_path: Path) -> None:
    Image.open(few / "p05.png").save(few / "p05.jpg", quality=90)
    (few / "p05.png").unlink()
    (few / "p05.jpg").write_bytes((few / "p05.jpg").read_bytes()[:-400])
    config = settings(tmp_path / "out", images=few, scales="1.0", labels=None)
    assert extract(config).failed == 1
    result = extract(replace(config, out=tmp_path / "more", allow_truncated=True))
    assert (result.failed, result.exit_code) == (0, 0)


def test_folders_that_lie_in_each_other(settings: Settings, few: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for out in (few, few / "out", tmp_path):
        with pytest.raises(CollisionError, match=str(out)) as caught:
            extract(settings(out, images=few))
        assert caught.value.exit_code == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_two_photos_of_one_name(settings: Settings, few: Path, tmp_path: Path) -> None:
    Image.open(few / "p05.png").save(few / "p05.jpg")
    with pytest.raises(CollisionError, match=r"p05\.jpg and p05\.png would both write p05\.png"):
        extract(settings(tmp_path / "out", images=few, labels=None))
    assert not (tmp_path / "out").exists()


def test_foreign_files_are_never_written_over(settings: Settings, few: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "p05.png").write_bytes(b"a mask drawn by hand")
    with pytest.raises(CollisionError, match=r"p05\.png would be overwritten"):
        extract(settings(out, images=few))
    assert (out / "p05.png").read_bytes() == b"a mask drawn by hand"
    assert [p.name for p in out.iterdir()] == ["p05.png"]
    result = extract(settings(out, images=few, overwrite=True, scales="1.0"))
    assert result.done == 3
    assert load_mask(out / "p05.png").ndim == 2


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"bar": 100, "disc": 99, "square": 3}, "fewer than 100 photos of disc, square"),
        ({"bar": 100, "disc": 120, "square": 300}, ""),
        ({"bar": 5, "disc": 9, "square": 3}, ""),
        ({"bar": "many", "disc": None}, ""),
        (["bar"], ""),
        (None, ""),
    ],
)
def test_classes_that_the_weights_hardly_saw_are_told(seen: object, told: str) -> None:
    ear = tiny.Ear()
    card = SimpleNamespace(training={"photos_per_class": seen})
    report_tags(Collection(()), card, ear)  # type: ignore[arg-type]
    assert ear.warnings[0].startswith("no --labels")
    assert len(ear.warnings) == 1 + bool(told)
    assert told in ear.warnings[-1]


def test_without_labels_the_classifier_tags(
    whole: tuple[Path, ExtractResult, tiny.Ear], settings: Settings, source: Path, tmp_path: Path
) -> None:
    """The card's thresholds: the first and the last class always, the second never."""
    ear = tiny.Ear()
    result = extract(settings(tmp_path / "out", labels=None, scales="0.5,1.0"), ear)
    assert result.tags_from == record(tmp_path / "out")["protocol"]["tags"] == "the classifier"
    assert any(w.startswith("no --labels") for w in ear.warnings)
    assert all(e["classes"] == ["bar", "square"] and e["tags"] == "classifier" for e in manifest(tmp_path / "out"))
    network, _ = load_network(source / "weights.safetensors")
    image = np.asarray(Image.open(source / "photos/p03.png"))
    photo = torch.from_numpy(image.copy())[None]
    probability = tag_probabilities(network, see(network, LinearMaps("first"), photo, (False,), amp=None))[0]
    middle = (probability.min() + probability.max()).item() / 2
    own = tiny.write_weights(tmp_path / "w", tag_thresholds=(middle,) * 3)
    (tmp_path / "list").write_text("p03\n")
    one = settings(tmp_path / "one", labels=None, scales="0.5,1.0,2.0", weights=own, list=tmp_path / "list")
    extract(one)
    expected = [name for name, p in zip(tiny.CLASSES, probability.tolist(), strict=True) if p > middle]
    assert 0 < len(expected) < 3
    assert manifest(tmp_path / "one")[0]["classes"] == expected


def test_rows_that_are_missing_empty_or_too_many(settings: Settings, few: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("filename,labels\np03.png,disc\np05.png,\nghost.png,bar\n")
    (tmp_path / "classes").write_text("background\nsquare\nbar\ndisc\n")  # another order than the weights'
    config = settings(tmp_path / "out", images=few, labels=tmp_path / "l.csv", class_file=tmp_path / "classes")
    ear = tiny.Ear()
    result = extract(replace(config, scales="1.0"), ear)
    assert result.done == 3
    found = {e["key"]: (e["classes"], e["tags"]) for e in manifest(tmp_path / "out")}
    assert found == {
        "p03": (["disc"], "labels"),
        "p05": ([], "labels"),
        "p07": (["bar", "square"], "classifier"),
    }
    assert not load_mask(tmp_path / "out/p05.png").any()
    assert set(np.unique(load_mask(tmp_path / "out/p03.png"))) - {0} == {2}
    assert load_scores(tmp_path / "out/scores/p05.npz").classes == ()
    assert any("for 1 of 3 photos" in w and "p07" in w for w in ear.warnings)
    assert any("1 row of l.csv (csv) without a photo (first: ghost.png)" in w for w in ear.warnings)
    assert record(tmp_path / "out")["protocol"]["untagged"] == 1


def test_large_photos_are_reduced_and_keep_full_masks(settings: Settings, tmp_path: Path) -> None:
    images = tmp_path / "large"
    images.mkdir()
    rng = np.random.default_rng(3)
    for name, size in {"a": (90, 260), "b": (45, 130), "c": (31, 64)}.items():
        Image.fromarray(tiny.draw(["disc"], size, rng)).save(images / f"{name}.png")
    out = tmp_path / "out"
    extract(settings(out, images=images, labels=None, max_side=64, overlay=True, scales="1.0,0.5"))
    for name, size, stride in (("a", (90, 260), 20), ("b", (45, 130), 12), ("c", (31, 64), 4)):
        scores = load_scores(out / f"scores/{name}.npz")
        assert (scores.size, scores.stride) == (size, stride)
        assert np.array_equal(load_mask(out / f"{name}.png"), scores.mask(0.3))
        with Image.open(out / f"overlays/{name}.jpg") as overlay:
            assert overlay.width >= size[1]
            assert overlay.height >= size[0]


def test_output_options(settings: Settings, tmp_path: Path) -> None:
    config = settings(tmp_path / "palette", limit=3, scales="1.0")
    extract(config)
    extract(replace(config, out=tmp_path / "index", mask_mode="index", scores=False, score_bits="8"))
    extract(replace(config, out=tmp_path / "fine", score_bits="16", score_stride=8))
    for key in KEYS[:3]:
        with Image.open(tmp_path / f"palette/{key}.png") as a, Image.open(tmp_path / f"index/{key}.png") as b:
            assert (a.mode, b.mode) == ("P", "L")
            assert np.array_equal(np.asarray(a), np.asarray(b))
        fine = load_scores(tmp_path / f"fine/scores/{key}.npz")
        assert fine.stride == 8
        assert np.array_equal(load_mask(tmp_path / f"fine/{key}.png"), fine.mask(0.3))
        assert not np.allclose(fine.values * 255, np.rint(fine.values * 255), atol=1e-3)
    assert not (tmp_path / "index/scores").exists()
    assert extract(replace(config, out=tmp_path / "index", mask_mode="index", scores=False)).skipped == 3


def test_a_list_chooses_photos(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("p07\ndeep/p02.png\n")
    result = extract(settings(tmp_path / "out", list=tmp_path / "list.txt", scales="1.0"))
    assert result.done == 2
    assert [e["key"] for e in manifest(tmp_path / "out")] == ["p07", "deep/p02"]
    (tmp_path / "list.txt").write_text("p07\nnobody\n")
    with pytest.raises(UsageError, match="no image for 1 of 2 names: nobody"):
        extract(settings(tmp_path / "more", list=tmp_path / "list.txt"))


def test_threshold_and_who_chose_it(settings: Settings, tmp_path: Path) -> None:
    def told(**changes: Any) -> tuple[float, str]:
        result = extract(settings(tmp_path / "out", dry_run=True, **changes))
        return result.threshold, result.threshold_from

    assert told() == (0.3, "from the weights' card")
    assert told(method="cam") == (0.4, "from the weights' card")
    assert told(recam_weights="first") == (0.4, "from the weights' card")
    assert told(recam_weights="sum") == (0.2, "the method's default")
    assert told(threshold=0.0) == (0.0, "given")


def test_dry_run_writes_nothing(settings: Settings, tmp_path: Path) -> None:
    ear = tiny.Ear()
    result = extract(settings(tmp_path / "out", dry_run=True), ear)
    assert (result.done, result.exit_code) == (0, 0)
    assert ear.infos
    assert list(tmp_path.iterdir()) == []


def test_dry_run_says_what_was_understood(settings: Settings, source: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    rows = (source / "photos.csv").read_text("utf-8").splitlines()
    labels.write_text("\n".join([*rows[:-2], "ghost.png,bar"]) + "\n", encoding="utf-8")
    config = settings(tmp_path / "out", labels=labels, limit=None)
    result = extract(replace(config, dry_run=True))
    told = dict(result.summary())
    assert told["photos"].startswith("8: deep/p00.png, ")
    assert told["labels"].startswith("labels.csv (csv), for 6 photos: bar ")
    assert told["photos without a row"].startswith("2: ")
    assert told["rows without a photo"] == "1: ghost.png"
    assert told["classes"] == "3: bar, disc, square"
    assert told["weights"] == f"{source / 'weights.safetensors'} (recam, narrow)"
    assert "8 masks to make, 0 already done" in told["output"]
    document = result.to_json()
    assert (document["orphans"], len(document["untagged"])) == (["ghost.png"], 2)
    extract(replace(config, scales="1.0"))
    with pytest.raises(RecordMismatch, match="scales was"):
        extract(replace(config, scales="0.5", dry_run=True))


def test_cam_and_recam_differ_and_cam_needs_one_classifier(settings: Settings, tmp_path: Path) -> None:
    plain = tiny.write_weights(tmp_path / "plain", reactivated=False)
    with pytest.raises(WeightsError, match="pseudomask reactivate"):
        extract(settings(tmp_path / "out", weights=plain))
    assert not (tmp_path / "out").exists()
    extract(settings(tmp_path / "cam", weights=plain, method="cam", limit=2, scales="1.0"))
    extract(settings(tmp_path / "recam", limit=2, scales="1.0"))
    a, b = (load_scores(tmp_path / f"{m}/scores/deep/p00.npz").values for m in ("cam", "recam"))
    assert not np.allclose(a, b, atol=0.05)


def test_what_cannot_work_is_said_before_anything_is_written(
    settings: Settings, source: Path, few: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "zebra.csv").write_text("filename,labels\np03.png,zebra\n")
    (tmp_path / "other.csv").write_text("filename,labels\nq1.png,disc\n")
    (tmp_path / "foreign").write_bytes(b"no weights")
    (tmp_path / "file").write_text("not a folder")
    out = tmp_path / "out"
    cases: list[tuple[type[PseudomaskError], str, dict[str, Any]]] = [
        (UsageError, "no image found", {"images": tmp_path / "empty"}),
        (UsageError, "nowhere", {"images": tmp_path / "nowhere"}),
        (UsageError, "unknown method 'dog'", {"method": "dog"}),
        (UsageError, "--scales", {"scales": "1,x"}),
        (LabelError, "have no class 'zebra'", {"labels": tmp_path / "zebra.csv"}),
        (LabelError, "q1.png", {"labels": tmp_path / "other.csv"}),
        (WeightsError, "no such weights file", {"weights": tmp_path / "nil"}),
        (WeightsError, "not a safetensors file", {"weights": tmp_path / "foreign"}),
        (PseudomaskError, "file", {"out": tmp_path / "file"}),
    ]
    for kind, message, changes in cases:
        with pytest.raises(kind, match=message) as caught:
            extract(settings(**{"out": out, "images": few} | changes))
        assert "\n" not in str(caught.value)
        assert not out.exists(), message
    if not torch.cuda.is_available():
        with pytest.raises(PseudomaskError) as caught:
            extract(settings(out, device="cuda"))
        assert caught.value.exit_code == 3
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_write_that_fails_ends_the_run_and_can_be_taken_up(
    settings: Settings, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path / "out", images=few, scales="1.0", batch_size=1)
    true_write = flow.write_outputs

    def full(outputs: Any, *args: Any, **more: Any) -> dict[str, Any]:
        if outputs.key == "p05":
            raise PseudomaskError("cannot write p05.png: no space left on the disk")
        return true_write(outputs, *args, **more)

    monkeypatch.setattr(flow, "write_outputs", full)
    with pytest.raises(PseudomaskError, match="no space left"):
        extract(config)
    assert {e["key"] for e in manifest(tmp_path / "out")} <= {"p03", "p07"}
    monkeypatch.undo()
    assert extract(config).done == 3


def test_the_package_offers_it(settings: Settings, few: Path, tmp_path: Path) -> None:
    config = pseudomask.ExtractConfig(
        images=few,
        out=tmp_path / "out",
        weights=settings(tmp_path).weights,
        device="cpu",
        amp="off",
        workers=0,
        scales="1.0",
        method="recam",
        refine=("none",),
    )
    result = pseudomask.extract(config)
    assert (result.done, result.exit_code) == (3, 0)
    assert api.extract is pseudomask.extract
