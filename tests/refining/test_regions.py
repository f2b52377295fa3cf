"""Regions that take their classes from the maps: superpixels, a folder of proposals, SAM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from planted import KEYS, THRESHOLD, Settings, blurred, truth_of
from pycocotools import mask as coco_mask

from pseudomask.data.run_lengths import decode, encode, runs_of
from pseudomask.errors import UsageError
from pseudomask.masks import load_mask
from pseudomask.refining.proposal_files import file_of, load_proposals, save_proposals
from pseudomask.refining.refine import refine
from pseudomask.refining.regions import assign, region_of
from pseudomask.refining.superpixels import Superpixels, merged, watershed


@pytest.fixture
def proposals(source: Path, tmp_path: Path) -> Path:
    """The planted shapes of each photo, as files of regions; the background is in none."""
    folder = tmp_path / "proposals"
    for key in KEYS:
        truth = truth_of(np.asarray(Image.open(source / "photos" / f"{key}.png")))
        masks = [truth == value for value in np.unique(truth)]
        save_proposals(file_of(folder, key), masks, truth.shape, {"made_from": "truth"})
    return folder


def test_regions_take_the_mean_scores_within_them() -> None:
    values = np.array([[[0.9, 0.7, 0.1], [0.3, 0.5, 0.2]]], np.float32)
    found = assign(values, [np.array([0, 1]), np.array([1, 4]), np.array([], int)])
    # The pixel in both regions takes the mean of 0.8 and 0.6; those in none keep their scores.
    assert found[0] == pytest.approx(np.array([[0.8, 0.7, 0.1], [0.3, 0.6, 0.2]]), abs=1e-6)


def test_a_region_on_a_coarser_grid() -> None:
    mask = np.zeros((5, 7), bool)
    mask[:, 3:] = True
    assert region_of(mask, 1).tolist() == np.flatnonzero(mask).tolist()
    assert region_of(mask, 2).tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11]  # on a grid of 3 × 4


def test_superpixels_cover_the_photo_and_keep_its_edges() -> None:
    photo = tiny.draw(("bar", "disc"), (60, 90), np.random.default_rng(1))
    labels = watershed(photo, 8)
    assert labels.shape == (60, 90)
    assert labels.min() == 0
    assert 0.5 < len(np.unique(labels)) / (60 * 90 / 64) < 1.6
    coarse = merged(labels, photo, 3000.0)
    assert len(np.unique(coarse)) < len(np.unique(labels)) / 2
    for small in np.unique(labels):
        assert len(np.unique(coarse[labels == small])) == 1, "merging splits none"
    assert (merged(labels, photo, 0.0) == labels).mean() > 0.5, "0 merges only what has one colour"


def test_superpixels_bring_blurred_seeds_to_the_shapes() -> None:
    gained = []
    for seed in range(4):
        photo = tiny.draw(("bar", "disc"), (96, 128), np.random.default_rng(seed))
        scores, truth = blurred(photo), truth_of(photo)
        refined = Superpixels().refine(photo, scores, THRESHOLD)
        assert refined.threshold == THRESHOLD
        before, after = ((mask == truth).mean() for mask in (scores.mask(THRESHOLD), refined.scores.mask(THRESHOLD)))
        gained.append(after - before)
    assert min(gained) > 0


@pytest.mark.parametrize("text", [True, False])
def test_codes_come_back_as_pycocotools_reads_them(text: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        region = rng.random(tuple(rng.integers(1, 300, 2))) > rng.random()
        code: dict[str, Any] = encode(region)
        if not text:
            code["counts"] = runs_of(code)[1].tolist()
        assert (decode(*runs_of(code)) == region).all()
        assert (coco_mask.decode(encode(region)) == region).all()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ({"size": [4, 5], "counts": [3, 4]}, "add up to 5x4"),
        ({"size": [4, 5], "counts": [30, -10]}, "run lengths"),
        ({"size": [4, 5], "counts": "0oooooooooooo"}, "cut off"),
        ({"size": [4, 5], "counts": "é"}, "letters"),
        ({"size": [4, 5], "counts": "ooooooooooooo0"}, "too long"),
        ({"size": [4, 5], "counts": ""}, "cut off"),
        ({"size": [4], "counts": "d0"}, "height, width"),
        ({"size": [4, -5], "counts": "d0"}, "height, width"),
        ([[1, 2, 3, 4, 5, 6]], "polygon"),
        (7, "not a run-length code"),
    ],
)
def test_malformed_codes_are_refused(code: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        runs_of(code)


def test_proposals_decide_the_masks(settings: Settings, source: Path, proposals: Path, tmp_path: Path) -> None:
    result = refine(settings(tmp_path / "out", method=("proposals",), proposals=proposals, workers=2))
    assert result.exit_code == 0
    for key in KEYS:
        truth = truth_of(np.asarray(Image.open(source / "photos" / f"{key}.png")))
        assert (load_mask(tmp_path / "out" / f"{key}.png") == truth).all(), key


@pytest.mark.parametrize("shape", ["list of codes", "list of objects", "SA-1B"])
def test_files_of_other_programs(tmp_path: Path, shape: str) -> None:
    region = np.eye(6, 8, dtype=bool)
    code = encode(region)
    rows = [code, code] if shape == "list of codes" else [{"segmentation": code, "area": 6}] * 2
    (tmp_path / "a.json").write_text(json.dumps({"image": {}, "annotations": rows} if shape == "SA-1B" else rows))
    found = load_proposals(tmp_path / "a.json")
    assert found.size == (6, 8)
    assert found.stamp is None
    assert [mask.tolist() for mask in found.masks()] == [region.tolist()] * 2


def _lost(folder: Path) -> None:
    file_of(folder, "p01").unlink()
    file_of(folder, "p03").unlink()


def _of_another_size(folder: Path) -> None:
    save_proposals(file_of(folder, "p03"), [np.ones((3, 4), bool)], (3, 4), {})


def _write(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        file_of(folder, "p03").write_text(text)

    return write


BAD_RUN = json.dumps([{"segmentation": {"size": [48, 64], "counts": "0oooooooooooo"}}])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_lost, r"2 photos of 6 .*p01\.json.*--list"),
        (_of_another_size, r"p03\.json: its regions belong to a photo of 4x3"),
        (_write(BAD_RUN), r"p03\.json: region 1: 'counts' is cut off"),
        (_write("{"), r"p03\.json"),
        (_write('{"images": [], "annotations": []}'), "a file for each photo"),
        (_write("3"), "neither a list"),
    ],
)
def test_proposals_that_cannot_be_used_are_told_before_any_photo(
    settings: Settings, proposals: Path, tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    harm(proposals)
    with pytest.raises(UsageError, match=words):
        refine(settings(tmp_path / "out", method=("proposals",), proposals=proposals))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", [None, "missing"])
def test_a_folder_of_proposals_is_needed(settings: Settings, tmp_path: Path, where: str | None) -> None:
    with pytest.raises(UsageError, match="--proposals"):
        refine(settings(tmp_path / "out", method=("proposals",), proposals=where and tmp_path / where))


def test_a_photo_without_regions_keeps_its_scores(
    settings: Settings, proposals: Path, tmp_path: Path, source: Path
) -> None:
    _write("[]")(proposals)
    refine(settings(tmp_path / "out", method=("proposals",), proposals=proposals))
    photo = np.asarray(Image.open(source / "photos/p03.png"))
    near = (load_mask(tmp_path / "out/p03.png") == blurred(photo).mask(THRESHOLD)).mean()
    assert near > 0.99  # scores pass through another grid
