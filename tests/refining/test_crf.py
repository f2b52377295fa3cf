"""The CRF as a refiner: what it starts from, what comes out, settings, engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pseudomask.config import CrfOptions
from pseudomask.errors import MissingExtra, UsageError
from pseudomask.refining import crf_engines
from pseudomask.refining.crf import MANY, PRESETS, Crf, CrfSettings, as_scores, energies, one_hot, shares
from pseudomask.refining.crf_engines import pick_engine
from pseudomask.scores import ScoreMap, quantise


def photo_and_truth(h: int = 40, w: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A red and a green rectangle on noisy grey; labels 0, 1, 2."""
    truth = np.zeros((h, w), int)
    truth[8:30, 6:26], truth[12:34, 32:54] = 1, 2
    colours = np.array([[110, 110, 110], [200, 60, 60], [60, 190, 70]])
    noise = np.random.default_rng(0).integers(-8, 9, (h, w, 3))
    return (colours[truth] + noise).astype(np.uint8), truth


def seeds(truth: np.ndarray, classes: tuple[int, ...] = (3, 9), stride: int = 4) -> ScoreMap:
    """Scores shifted by a few pixels, coarse."""
    h, w = truth.shape
    planes = [np.roll(truth == i + 1, (3, -3), (0, 1))[::stride, ::stride] * 0.8 for i in range(len(classes))]
    return ScoreMap(classes, np.stack(planes).astype(np.float32), (h, w), stride)


def agreement(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask == np.array([0, 3, 9])[truth]).mean())


@pytest.mark.parametrize("unary", ["hard", "soft"])
@pytest.mark.parametrize("preset", ["irn", "deeplab"])
def test_masks_follow_the_photo(unary: str, preset: str) -> None:
    photo, truth = photo_and_truth()
    before = seeds(truth)
    refiner = Crf.of(CrfOptions(crf_unary=unary, crf_preset=preset, crf_bilateral_rgb=13))  # type: ignore[arg-type]
    scores, threshold = refiner.refine(photo, before, 0.3)
    assert (scores.classes, scores.size, scores.stride, threshold) == ((3, 9), truth.shape, 1, 0.5)
    assert agreement(before.mask(0.3), truth) < 0.9
    assert agreement(scores.mask(threshold), truth) > 0.95


def test_nothing_to_decide_passes_through() -> None:
    photo, truth = photo_and_truth()
    refiner = Crf.of(CrfOptions())
    none = ScoreMap((), np.zeros((0, 10, 15), np.float32), (40, 60), 4)
    below = seeds(truth)
    full = ScoreMap((4,), np.ones((1, 10, 15), np.float32), (40, 60), 4)
    for scores, threshold in ((none, 0.3), (below, 0.9), (full, 0.3)):
        found = refiner.refine(photo, scores, threshold)
        assert found.scores is scores
        assert found.threshold == threshold


def test_without_steps_it_gives_the_mask_that_it_got() -> None:
    photo, truth = photo_and_truth()
    before = seeds(truth)
    for unary in ("hard", "soft"):
        scores, threshold = Crf.of(CrfOptions(crf_iterations=0, crf_unary=unary)).refine(photo, before, 0.3)  # type: ignore[arg-type]
        assert np.array_equal(scores.mask(threshold), before.mask(0.3))


def test_large_photos_are_reduced() -> None:
    """Half the side and half the reaches: nearly the same mask, its scores at stride 2."""
    photo, truth = photo_and_truth(80, 120)
    whole, _ = Crf.of(CrfOptions()).refine(photo, seeds(truth), 0.3)
    half, _ = Crf.of(CrfOptions(crf_side=60)).refine(photo, seeds(truth), 0.3)
    assert (whole.stride, half.stride) == (1, 2)
    assert half.size == truth.shape
    assert (half.mask(0.5) == whole.mask(0.5)).mean() > 0.97


def test_a_photo_of_very_many_labels_is_seen_coarser() -> None:
    """25 tags as ever; with more, labels times pixels stay those of 25, and so do time and memory."""
    photo, _ = photo_and_truth(60, 80)
    blocks = np.random.default_rng(0).random((100, 5, 5)).astype(np.float32)
    values = np.kron(blocks, np.ones((1, 12, 16), np.float32))
    strides = {}
    for tags in (25, 26, 100):
        found, level = Crf.of(CrfOptions()).refine(
            photo, ScoreMap(tuple(range(1, tags + 1)), values[:tags], (60, 80), 1), 0.3
        )
        strides[tags] = found.stride
        assert found.size == (60, 80)
        assert (found.mask(level) == values[:tags].argmax(0) + 1).mean() > 0.5
    assert strides == {25: 1, 26: 2, 100: 2}
    assert (MANY * 60 * 80) >= 101 * 20 * 27


def test_energies_of_labels() -> None:
    """As in IRN's public code: -log 0.7 where the mask says so, -log of an equal part of 0.3 elsewhere."""
    stacked = np.array([[[0.3, 0.3, 0.3]], [[0.9, 0.3, 0.1]], [[0.2, 0.4, 0.3]]], np.float32)
    labels = one_hot(stacked)
    assert labels.argmax(0).tolist() == [[1, 2, 0]]  # the last is a tie, and background's
    found = energies(labels, 0.7)
    assert found.dtype == np.float32
    assert np.allclose(np.exp(-found), np.where(labels == 1, 0.7, 0.15))


def test_shares_sum_to_one() -> None:
    stacked = np.array([[[0.0, 0.3]], [[0.0, 0.9]]], np.float32)
    assert np.allclose(shares(stacked), [[[1, 0.25]], [[0, 0.75]]])
    soft = np.exp(-energies(shares(stacked), 0.9))
    assert np.allclose(soft.sum(0), 1)
    assert np.allclose(soft[:, 0, 0], [0.9, 0.1])


def test_scores_keep_the_argmax_even_in_8_bits() -> None:
    """Also where background has no chance, and classes would tie at a score of 1."""
    rng = np.random.default_rng(0)
    marginals = rng.dirichlet([0.3, 0.5, 0.5, 0.1], (50, 60)).transpose(2, 0, 1).astype(np.float32)
    marginals[0, :25] = 0  # and marginals that float32 rounds to 0
    marginals[:, :2, :2] = np.array([0, 1, 0, 0])[:, None, None]
    top = np.sort(marginals, 0)
    clear = top[-1] > 1.02 * top[-2]  # 8 bits cannot tell more
    scores = ScoreMap((1, 2, 3), as_scores(marginals), (50, 60), 1)
    assert np.array_equal(scores.mask(0.5), marginals.argmax(0))
    assert np.array_equal(quantise(scores).mask(0.5)[clear], marginals.argmax(0)[clear])
    two = marginals[:2] + 1e-3
    assert np.allclose(as_scores(two)[0], two[1] / two.sum(0), atol=1e-6)


def test_presets_and_single_flags() -> None:
    """IRN's, and DeepLab's published values; a flag changes its value only."""
    irn = CrfSettings.of(CrfOptions())
    assert irn.kernels == (3, 3, 50, 5, 10)
    assert (irn.unary, irn.gt_prob, irn.iterations) == ("hard", 0.9, 10)
    deeplab = CrfSettings.of(CrfOptions(crf_preset="deeplab"))
    assert (deeplab.kernels, deeplab.gt_prob) == ((1, 3, 67, 3, 4), 0.7)
    assert CrfSettings.of(CrfOptions(crf_unary="soft")).gt_prob == 0.9
    assert CrfSettings.of(CrfOptions(crf_preset="deeplab", crf_unary="soft")).gt_prob == 0.9
    own = CrfSettings.of(CrfOptions(crf_bilateral_xy=80, crf_gauss_weight=0, crf_gt_prob=0.6, crf_iterations=5))
    assert own.kernels == PRESETS["irn"]._replace(bilateral_xy=80, gauss_weight=0)
    assert (own.gt_prob, own.iterations) == (0.6, 5)


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"crf_gt_prob": 0.5}, "--crf-gt-prob"),
        ({"crf_gt_prob": 1.0}, "--crf-gt-prob"),
        ({"crf_gauss_xy": 0.0}, "--crf-gauss-xy"),
        ({"crf_bilateral_xy": -1.0}, "--crf-bilateral-xy"),
        ({"crf_bilateral_rgb": float("nan")}, "--crf-bilateral-rgb"),
        ({"crf_bilateral_weight": float("inf")}, "--crf-bilateral-weight"),
        ({"crf_gauss_weight": -0.1}, "--crf-gauss-weight"),
    ],
)
def test_settings_are_checked(changes: dict[str, float], flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        CrfSettings.of(CrfOptions(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"crf_preset": "deeplab"},
        {"crf_unary": "soft"},
        {"crf_gt_prob": 0.7},
        {"crf_iterations": 1},
        {"crf_side": 30},
        {"crf_gauss_xy": 1.0},
        {"crf_gauss_weight": 0.0},
        {"crf_bilateral_xy": 5.0},
        {"crf_bilateral_rgb": 20.0},
        {"crf_bilateral_weight": 0.0},
    ],
    ids=str,
)
def test_every_setting_has_an_effect(change: dict[str, Any]) -> None:
    photo, truth = photo_and_truth()
    plain: dict[str, Any] = {"crf_gauss_weight": 1.0, "crf_bilateral_weight": 1.0}
    before, after = (
        Crf.of(CrfOptions(**settings)).refine(photo, seeds(truth), 0.3).scores.upsample()
        for settings in (plain, plain | change)
    )
    assert abs(before - after).max() > 0.01


def test_absent_pydensecrf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crf_engines, "find_spec", lambda name: None)
    assert pick_engine("auto") == pick_engine("torch") == "torch"
    with pytest.raises(MissingExtra, match=r"pip install 'pseudomask\[crf\]'"):
        Crf.of(CrfOptions(engine="pydensecrf"))
