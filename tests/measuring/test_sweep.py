"""The one-pass sweep against masks made threshold by threshold."""

from __future__ import annotations

import numpy as np
import pytest

from pseudomask.errors import UsageError
from pseudomask.measuring.confusion import Confusion, measure
from pseudomask.measuring.sweep import DEFAULT_THRESHOLDS, Sweep, best_index, checked_thresholds, tables
from pseudomask.scores import ScoreMap, quantise


def random_image(rng: np.random.Generator, n_classes: int) -> tuple[ScoreMap, np.ndarray]:
    size = tuple(int(side) for side in rng.integers(1, 40, 2))
    stride = int(rng.integers(1, 6))
    count = int(rng.integers(0, n_classes))
    classes = tuple(sorted(rng.choice(np.arange(1, n_classes), count, replace=False).tolist()))
    shape = (count, -(-size[0] // stride), -(-size[1] // stride))
    # Two decimals: many scores lie exactly on a threshold, and classes tie.
    values = np.round(rng.random(shape), 2).astype(np.float32)
    truth = rng.choice([*range(n_classes), 255], size).astype(np.uint8)
    return ScoreMap(classes, values, size, stride), truth


@pytest.mark.parametrize("bits", [None, 8, 16])
@pytest.mark.parametrize("seed", range(6))
def test_every_threshold_equals_the_mask_made_at_it(seed: int, bits) -> None:
    rng = np.random.default_rng(seed)
    fixed, growing = Sweep(n_classes=5), Sweep()
    images = [random_image(rng, 5) for _ in range(4)]
    if bits:
        images = [(quantise(scores, bits), truth) for scores, truth in images]
    histograms = []
    for scores, truth in images:
        histograms.append(fixed.update(scores, truth))
        growing.update(scores, truth)
    curve = fixed.curve()
    for index, threshold in enumerate(DEFAULT_THRESHOLDS):
        confusion = Confusion(5)
        for (scores, truth), counts in zip(images, histograms, strict=True):
            alone = Confusion(5)
            confusion.add(alone.update(scores.mask(threshold), truth))
            at = np.ix_(counts.labels, counts.labels)
            np.testing.assert_array_equal(tables(counts.table)[index], alone.table[at])
        np.testing.assert_array_equal(fixed.table(index), confusion.table)
        size = len(growing.histogram)
        np.testing.assert_array_equal(growing.table(index), confusion.table[:size, :size])
        np.testing.assert_array_equal(curve[index].iou, measure(confusion.table).iou)


def test_thresholds_that_are_not_single_precision_numbers() -> None:
    """0.7 is not 0.7 in float32; the sweep and the mask have to round it alike."""
    scores = ScoreMap((1,), np.array([[[0.7, 0.1, 0.3]]], np.float32), (1, 3), 1)
    truth = np.ones((1, 3), np.uint8)
    sweep = Sweep([0.1, 0.3, 0.7], 2)
    sweep.update(scores, truth)
    for index, threshold in enumerate(sweep.thresholds):
        assert sweep.table(index)[1, 1] == (scores.mask(threshold) == 1).sum() == 2 - index


def test_an_image_without_classes_is_background_at_every_threshold() -> None:
    sweep = Sweep([0.0, 0.5], 3)
    sweep.update(ScoreMap((), np.zeros((0, 1, 1), np.float32), (4, 4), 4), np.full((4, 4), 2, np.uint8))
    for index in range(2):
        assert sweep.table(index).tolist() == [[0, 0, 0], [0, 0, 0], [16, 0, 0]]


def test_thresholds_are_sorted_and_checked() -> None:
    assert checked_thresholds([0.5, 0.1, 0.5]) == (0.1, 0.5)
    assert checked_thresholds(None)[:3] == (0.0, 0.01, 0.02)
    assert len(DEFAULT_THRESHOLDS) == 100
    for wrong in ([], [1.5], [float("nan")], [-0.1]):
        with pytest.raises(UsageError, match="threshold"):
            checked_thresholds(wrong)


def test_refusals() -> None:
    scores = ScoreMap((4,), np.zeros((1, 2, 2), np.float32), (8, 8), 4)
    with pytest.raises(UsageError, match="size"):
        Sweep().update(scores, np.zeros((8, 9), np.uint8))
    with pytest.raises(UsageError, match="score file contains the value 4"):
        Sweep(n_classes=4).update(scores, np.zeros((8, 8), np.uint8))
    with pytest.raises(UsageError, match="truth contains the value 9"):
        Sweep(n_classes=5).update(scores, np.full((8, 8), 9, np.uint8))
    with pytest.raises(UsageError, match="fewer thresholds"):
        Sweep(n_classes=3000)


def test_best_index() -> None:
    assert best_index([0.1, 0.5, 0.5]) == 1
    assert best_index([float("nan"), 0.0]) == 1
    assert best_index([float("nan")]) == 0
