"""Average precision and the best F1 threshold against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from pseudomask.measuring.average_precision import average_precision, best_f1_threshold


def brute_average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """Sum over distinct thresholds of (rise in recall) * precision, from the definition."""
    if not targets.any():
        return float("nan")
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        recall = (found & (targets == 1)).sum() / targets.sum()
        total += (recall - recall_before) * (found & (targets == 1)).sum() / found.sum()
        recall_before = recall
    return total


def f1(scores: np.ndarray, targets: np.ndarray, threshold: float) -> float:
    found = scores > threshold
    return 2 * (found & (targets == 1)).sum() / (found.sum() + targets.sum())


@pytest.mark.parametrize("seed", range(40))
def test_average_precision_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 40)), 5)
    scores = rng.normal(size=shape)
    if seed % 2:
        scores = np.round(scores, 1)  # ties
    targets = (rng.random(shape) < rng.random(5)).astype(int)
    expected = [brute_average_precision(scores[:, c], targets[:, c]) for c in range(5)]
    np.testing.assert_allclose(average_precision(scores, targets), expected, atol=1e-12)


def test_average_precision_equals_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    scores, targets = np.round(rng.random((200, 6)), 2), (rng.random((200, 6)) < 0.3).astype(int)
    oracle = functional.multilabel_average_precision(
        torch.from_numpy(scores), torch.from_numpy(targets), num_labels=6, average="none"
    )
    np.testing.assert_allclose(average_precision(scores, targets), oracle.numpy(), atol=1e-6)


def test_known_values() -> None:
    scores = np.array([[0.9, 0.9, 0.5], [0.8, 0.1, 0.5], [0.1, 0.8, 0.5], [0.0, 0.0, 0.5]])
    targets = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(average_precision(scores, targets), [1, 1 / 3, 1 / 4])


def test_no_positive_is_nan() -> None:
    result = average_precision(np.zeros((3, 2)), np.array([[0, 1], [0, 0], [0, 0]]))
    assert np.isnan(result[0])
    assert result[1] == pytest.approx(1 / 3)
    assert np.isnan(average_precision(np.zeros((0, 2)), np.zeros((0, 2)))).all()
    assert np.isnan(best_f1_threshold(np.array([0.3]), np.array([0])))


@pytest.mark.parametrize("seed", range(40))
def test_best_f1_threshold_is_the_best_of_all_cuts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    scores = rng.random(count) if seed % 2 else np.round(rng.random(count), 1)
    targets = (rng.random(count) < 0.4).astype(int)
    targets[0] = 1
    cuts = [*scores.tolist(), -1.0]
    best = max(f1(scores, targets, cut) for cut in cuts)
    threshold = best_f1_threshold(scores, targets)
    assert f1(scores, targets, threshold) == pytest.approx(best)
    assert not (scores == threshold).any() or threshold < scores.min()


def test_best_f1_threshold_lies_halfway_and_is_the_highest_of_equals() -> None:
    assert best_f1_threshold(np.array([0.1, 0.4, 0.8]), np.array([0, 0, 1])) == pytest.approx(0.6)
    # One of two found, or both with two false alarms: both cuts give F1 2/3.
    scores, targets = np.array([0.9, 0.7, 0.5, 0.3]), np.array([1, 0, 0, 1])
    assert best_f1_threshold(scores, targets) == pytest.approx(0.8)


def test_neighbouring_floats_can_be_told_apart() -> None:
    high = 0.5
    scores = np.array([high, np.nextafter(high, 0)])
    threshold = best_f1_threshold(scores, np.array([1, 0]))
    assert (scores > threshold).tolist() == [True, False]
    assert (np.array([0.5]) > best_f1_threshold(np.array([0.5]), np.array([1]))).all()


@pytest.mark.parametrize(
    ("scores", "targets"),
    [
        (np.zeros((3, 2)), np.zeros((3, 1))),
        (np.zeros(3), np.zeros(3)),
        (np.full((3, 2), np.nan), np.zeros((3, 2))),
        (np.zeros((3, 2)), np.full((3, 2), 2)),
        (np.zeros((3, 2)), np.full((3, 2), -1)),
    ],
)
def test_wrong_arguments(scores: np.ndarray, targets: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"scores|targets"):
        average_precision(scores, targets)
