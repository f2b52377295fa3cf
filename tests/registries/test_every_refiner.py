"""What every refiner of the registry must do; a new one is covered by its line in `RefinerOptions`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from planted import THRESHOLD, blurred

from pseudomask.config import RefineConfig
from pseudomask.refining import REFINERS
from pseudomask.refining.refiner import BatchRefiner, Refiner
from pseudomask.scores import ScoreMap

SIZES = ((48, 64), (64, 48), (37, 53))


@pytest.fixture(params=sorted(REFINERS))
def refiner(request: pytest.FixtureRequest, affinity: Path, tmp_path: Path) -> Refiner:
    unused = Path("unused")
    needed: dict[str, Any] = {
        "walk": {"affinity": affinity},
        "proposals": {"proposals": tmp_path},
        "sam": {"sam_points": 2, "sam_iou": 0.0, "sam_stability": 0.0},
    }.get(request.param, {})
    if request.param == "sam":
        needed["sam_model"] = request.getfixturevalue("sam_model")
    config = RefineConfig(
        images=unused, seeds=unused, out=unused, device="cpu", amp="off", method=(request.param,), **needed
    )
    return REFINERS[request.param](config)


def photos(*names: tuple[str, ...]) -> Iterator[tuple[np.ndarray, ScoreMap]]:
    """Photos of these shapes in turn, each of another size, with blurred scores."""
    rng = np.random.default_rng(3)
    for number, shown in enumerate(names):
        photo = tiny.draw(shown, SIZES[number % len(SIZES)], rng)
        yield photo, blurred(photo)


MANY = [("bar", "disc"), ("square",), ("bar", "disc", "square")]


def test_scores_keep_their_shape_classes_and_range(refiner: Refiner) -> None:
    for photo, scores in photos(*MANY):
        before = scores.values.copy()
        refined = refiner.refine(photo, scores, THRESHOLD)
        assert refined.scores.classes == scores.classes
        assert refined.scores.size == photo.shape[:2]
        assert refined.scores.values.dtype == np.float32
        assert np.isfinite(refined.scores.values).all()
        assert 0 <= refined.scores.values.min() <= refined.scores.values.max() <= 1
        assert 0 <= refined.threshold <= 1
        assert (scores.values == before).all(), "the scores that it was given are still needed"


def test_masks_hold_the_classes_of_the_scores_alone(refiner: Refiner) -> None:
    for photo, scores in photos(*MANY):
        refined = refiner.refine(photo, scores, THRESHOLD)
        mask = refined.scores.mask(refined.threshold)
        assert mask.shape == photo.shape[:2]
        assert set(np.unique(mask)) <= {0, *scores.classes}
        assert mask.any(), "something of the seed must be left"


def test_the_same_photo_gives_the_same_scores(refiner: Refiner) -> None:
    (photo, scores), *_ = photos(*MANY)
    first, again = refiner.refine(photo, scores, THRESHOLD), refiner.refine(photo, scores, THRESHOLD)
    assert (first.scores.values == again.scores.values).all()
    assert first.threshold == again.threshold


def test_it_crosses_processes(refiner: Refiner) -> None:
    (photo, scores), *_ = photos(*MANY)
    copy = pickle.loads(pickle.dumps(refiner))
    assert (
        copy.refine(photo, scores, THRESHOLD).scores.values == refiner.refine(photo, scores, THRESHOLD).scores.values
    ).all()


def test_threads_change_nothing_that_shows(refiner: Refiner) -> None:
    (photo, scores), *_ = photos(*MANY)
    alone = refiner.refine(photo, scores, THRESHOLD)
    try:
        torch.set_num_threads(2)
        both = refiner.refine(photo, scores, THRESHOLD)
    finally:
        torch.set_num_threads(1)
    assert np.abs(alone.scores.values - both.scores.values).max() < 1e-4


def test_a_photo_without_classes_passes_through(refiner: Refiner) -> None:
    photo = tiny.draw((), SIZES[0], np.random.default_rng(0))
    none = ScoreMap((), np.zeros((0, 12, 16), np.float32), photo.shape[:2], 4)
    refined = refiner.refine(photo, none, THRESHOLD)
    assert refined.scores.classes == ()
    assert refined.scores.mask(refined.threshold).max() == 0


def test_a_class_without_a_pixel_is_no_trouble(refiner: Refiner) -> None:
    ((photo, scores),) = photos(("bar",))
    empty = ScoreMap(scores.classes, np.zeros_like(scores.values), scores.size, scores.stride)
    refined = refiner.refine(photo, empty, THRESHOLD)
    assert np.isfinite(refined.scores.values).all()
    assert refined.scores.mask(refined.threshold).max() == 0


def test_a_photo_of_one_pixel(refiner: Refiner) -> None:
    photo = np.full((1, 1, 3), 128, np.uint8)
    refined = refiner.refine(photo, ScoreMap((1,), np.ones((1, 1, 1), np.float32), (1, 1), 4), THRESHOLD)
    assert refined.scores.mask(refined.threshold).shape == (1, 1)


def test_a_batch_gives_what_each_gives_alone(refiner: Refiner) -> None:
    if not isinstance(refiner, BatchRefiner):
        pytest.skip("refines one photo at a time")
    given = list(photos(*MANY, *MANY))
    together = refiner.refine_batch([photo for photo, _ in given], [scores for _, scores in given], THRESHOLD)
    for (photo, scores), refined in zip(given, together, strict=True):
        alone = refiner.refine(photo, scores, THRESHOLD)
        assert np.abs(alone.scores.values - refined.scores.values).max() < 1e-4
        assert alone.threshold == refined.threshold
