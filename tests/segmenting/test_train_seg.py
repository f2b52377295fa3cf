"""train-seg: what it learns, from which folders, how it resumes, and what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import Settings

from pseudomask.api import train_seg
from pseudomask.config import ExportConfig, ExtractConfig, TrainSegConfig
from pseudomask.errors import LabelError, NothingLearned, UsageError, WeightsError
from pseudomask.exporting.export import export
from pseudomask.extraction import extract
from pseudomask.masks import load_mask, save_mask
from pseudomask.networks.checkpoint import read_card, read_tensors
from pseudomask.networks.segmenter import load_segmenter, make_segmenter
from pseudomask.running.record import RunRecord
from pseudomask.scores import ScoreMap
from pseudomask.segmenting.crops import IGNORED, MaskCrops, lead
from pseudomask.segmenting.masked import find_layout, read_masked
from pseudomask.segmenting.train import pixel_step

LOOKED = 16  # masks that are looked at before the first step


@pytest.fixture(scope="module")
def whole(place: Path, settings: Settings) -> Path:
    """An uninterrupted training; its head has batch norm and dropout."""
    train_seg(settings(place / "whole"))
    return place / "whole"


@pytest.fixture(scope="module")
def seeds(place: Path) -> Path:
    """An output folder of extract."""
    tiny.write_weights(place / "weights.safetensors")
    extract(
        ExtractConfig(
            images=place / "photos", out=place / "seeds", labels=place / "photos.csv", method="cam", refine=("none",),
            weights=place / "weights.safetensors", device="cpu", amp="off", workers=0, tta="fast", threshold=0.4,
        )
    )  # fmt: skip
    return place / "seeds"


def test_it_learns_and_says_against_what_it_measured(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    losses = [line["val_loss"] for line in lines if "val_loss" in line]
    assert losses[-1] < 0.8 * losses[0]
    card = read_card(whole / "weights.safetensors")
    assert card.method == "segmenter"
    assert card.classes == tiny.CLASSES
    assert card.segmenter == {
        "network": "deeplabv3_narrow",
        "side": 84,
        "palette": [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]],
    }
    (measured,) = card.measured
    assert "not with true masks" in measured["what"]
    assert measured["iou"].keys() <= {"background", *tiny.CLASSES}
    assert card.training["photos"] == 14


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_stopped_training_resumes_to_the_same_bytes(
    whole: Path, settings: Settings, tmp_path: Path, step: int
) -> None:
    """Batch norm's statistics and dropout included; a stop looks at the network once more."""
    config = settings(tmp_path / "run", checkpoint_every=100)
    stopped = train_seg(config, tiny.StopsAt(LOOKED + step))
    assert stopped.exit_code == 128 + signal.SIGTERM
    assert train_seg(config).exit_code == 0
    assert (tmp_path / "run/weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("head", ["lraspp", "deeplabv3"])
def test_a_single_photo_can_be_a_step(head: str) -> None:
    """DeepLab's pooled branch has one value a channel then, of which batch norm can take no statistics."""
    network = make_segmenter(f"{head}_narrow", 3, backbone=tiny.NARROW).train()
    labels = torch.zeros(1, 48, 40, dtype=torch.int32)
    loss, _ = pixel_step()(network, torch.rand(1, 3, 48, 40), labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert network.head.layers.training
    assert network(torch.rand(2, 3, 48, 40)).shape == (2, 4, 48, 40)


def test_a_step_without_a_counted_pixel_has_no_loss() -> None:
    network = make_segmenter("lraspp_narrow", 3, backbone=tiny.NARROW)
    labels = torch.full((2, 48, 40), IGNORED, dtype=torch.int32)
    assert pixel_step()(network, torch.rand(2, 3, 48, 40), labels)[0].item() == 0


def test_masks_of_extract_need_no_further_words(seeds: Path, settings: Settings, tmp_path: Path) -> None:
    config = settings(tmp_path / "run", masks=seeds, images=None, class_file=None, epochs=1)
    result = train_seg(config)
    assert result.weights is not None
    source = RunRecord.read(tmp_path / "run/run.json").weights
    assert source["masks_made_by"] == "extract cam"
    assert "masks are not" not in str(result.summary())


def test_other_masks_cannot_resume(settings: Settings, place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "truth", tmp_path / "truth")
    config = settings(tmp_path / "run", masks=tmp_path / "truth", epochs=1)
    train_seg(config)
    mask = load_mask(tmp_path / "truth/p01.png")
    save_mask(tmp_path / "truth/p01.png", np.zeros_like(mask))
    with pytest.raises(UsageError, match="masks_hash"):
        train_seg(config)


@pytest.mark.parametrize("kind", ["voc", "mmseg"])
def test_an_export_is_read_with_its_lists(seeds: Path, settings: Settings, tmp_path: Path, kind: str) -> None:
    export(ExportConfig(out=seeds, dest=tmp_path / "data", format=kind, val_fraction=0.25))
    config = settings(tmp_path / "run", masks=tmp_path / "data", images=None, class_file=None)
    masked = read_masked(config, tiny.Ear())
    assert masked.layout.classes == tiny.CLASSES
    assert (len(masked.split.training.items), len(masked.split.held_out.items)) == (12, 4)
    assert all(path.is_file() for path in masked.masks(masked.split.training.items))


def test_the_lead_of_the_best_score() -> None:
    values = np.array([[[0.9, 0.1]], [[0.3, 0.45]]], np.float32)
    found = lead(ScoreMap((1, 2), values, (1, 2), 1), 0.4)
    np.testing.assert_allclose(found, [[0.5, 0.05]], atol=1e-6)
    none = lead(ScoreMap((), np.zeros((0, 1, 2), np.float32), (1, 2), 1), 0.4)
    assert (none >= 1).all(), "without a class nothing rivals the background"


def test_ignore_margin_leaves_out_undecided_pixels(seeds: Path, settings: Settings, tmp_path: Path) -> None:
    base = {"masks": seeds, "images": None, "class_file": None}
    masked = read_masked(settings(tmp_path / "x", **base), tiny.Ear())
    items = masked.split.training.items
    files = {"scores": [seeds / "scores" / f"{item.key}.npz" for item in items], "threshold": 0.4}
    common = {"classes": 3, "crop": 48, "sides": (48, 90), "seed": 0, "around": np.zeros(3, np.uint8)}
    photos, masks = [item.path for item in items], masked.masks(items)
    every = MaskCrops(photos, masks, **common)
    sure = MaskCrops(photos, masks, margin=0.1, **files, **common)
    for i in range(4):
        size = load_mask(masks[i]).shape
        one, other = every.labels(i, size), sure.labels(i, size)
        ignored = other == IGNORED
        assert 0 < ignored.mean() < 1
        assert (one[~ignored] == other[~ignored]).all()
    plain, margin = (
        train_seg(settings(tmp_path / f"run{m}", epochs=1, ignore_margin=m, **base)).weights for m in (0, 0.1)
    )
    assert plain is not None
    assert margin is not None
    mine, theirs = read_tensors(plain)[0], read_tensors(margin)[0]
    assert any(not torch.equal(mine[name], theirs[name]) for name in mine)


def test_ignore_margin_needs_scores(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--ignore-margin.*scores"):
        train_seg(settings(tmp_path / "run", ignore_margin=0.1))


def test_what_mask_folders_lack_is_named(place: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--class-file"):
        find_layout(settings(tmp_path / "run", class_file=None))
    with pytest.raises(UsageError, match="--images"):
        find_layout(settings(tmp_path / "run", images=None))
    with pytest.raises(UsageError, match="no such folder"):
        find_layout(settings(tmp_path / "run", masks=place / "nowhere"))
    with pytest.raises(UsageError, match="--images"):
        train_seg(settings(tmp_path / "run", masks=place / "truth/deep"))


def test_masks_of_other_classes_are_refused(place: Path, settings: Settings, tmp_path: Path) -> None:
    few = tmp_path / "two.txt"
    few.write_text("bar\ndisc\n")
    with pytest.raises(UsageError, match=r"holds class 3.*--class-file"):
        train_seg(settings(tmp_path / "run", class_file=few))
    assert not (tmp_path / "run").exists()


def test_a_class_file_that_contradicts_the_record(seeds: Path, settings: Settings, tmp_path: Path) -> None:
    few = tmp_path / "two.txt"
    few.write_text("bar\ndisc\n")
    with pytest.raises(LabelError, match="leave it out"):
        train_seg(settings(tmp_path / "run", masks=seeds, class_file=few))


def test_bad_masks_are_left_out_and_told(place: Path, settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(place / "truth", tmp_path / "truth")
    (tmp_path / "truth/p01.png").write_bytes(b"no picture")
    save_mask(tmp_path / "truth/p03.png", np.zeros((5, 5), np.uint8))
    ear = tiny.Ear()
    masked = read_masked(settings(tmp_path / "run", masks=tmp_path / "truth"), ear)
    (told,) = ear.warnings
    assert told.startswith("2 of 16 masks cannot be used")
    kept = {item.key for item in (*masked.split.training.items, *masked.split.held_out.items)}
    assert len(kept) == 14
    assert not kept & {"p01", "p03"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "unet_narrow"}, "deeplabv3_resnet50"),
        ({"network": "deeplabv3"}, "unknown"),
        ({"network": "deeplabv3_resnet5"}, "unknown backbone"),
        ({"min_side": 200}, "--max-side"),
    ],
)
def test_settings_that_cannot_work(settings: Settings, tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        train_seg(settings(tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_nothing_learned_is_an_error(settings: Settings, place: Path, tmp_path: Path) -> None:
    for photo in (place / "photos").rglob("*.png"):
        mask = np.full_like(load_mask(place / "truth" / photo.relative_to(place / "photos")), 255)
        save_mask(tmp_path / "truth" / photo.relative_to(place / "photos"), mask)
    with pytest.raises(NothingLearned):
        train_seg(settings(tmp_path / "run", masks=tmp_path / "truth", epochs=1))


def test_a_classifier_is_no_segmenter_and_the_reverse(seeds: Path, place: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="extract"):
        load_segmenter(place / "weights.safetensors")
    segmenter = place / "segmenter.safetensors"
    with pytest.raises(WeightsError, match="predict"):
        extract(ExtractConfig(images=place / "photos", out=tmp_path / "out", weights=segmenter))
    assert not (tmp_path / "out").exists()


def test_a_review_leaves_out_bad_masks_and_other_verdicts_cannot_resume(
    seeds: Path, settings: Settings, tmp_path: Path
) -> None:
    review = tmp_path / "review.csv"
    plain = settings(tmp_path / "run", masks=seeds, images=None, class_file=None, epochs=1)

    def keys(config: TrainSegConfig) -> set[str]:
        split = read_masked(config, tiny.Ear()).split
        return {item.key for item in (*split.training.items, *split.held_out.items)}

    bad, unsure, *_ = sorted(keys(plain))
    review.write_text(f"photo,verdict\n{bad}.jpg,bad\n{unsure}.jpg,unsure\n")
    config = replace(plain, review=review)
    assert keys(plain) - keys(config) == {bad}
    train_seg(config)
    assert RunRecord.read(tmp_path / "run/run.json").weights["review"] == "review.csv leaves out 1 bad"
    train_seg(config)
    with pytest.raises(UsageError, match="list of photos"):
        train_seg(replace(config, unsure="drop"))
