"""Confusion counts: planted answers, policies for ignore and absent classes, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from pseudomask.errors import UsageError
from pseudomask.measuring.confusion import MAX_CLASSES, Confusion, count, measure


def brute_table(pred: np.ndarray, truth: np.ndarray, n: int, ignore: int = 255) -> np.ndarray:
    table = np.zeros((n, n), np.int64)
    for p, t in zip(pred.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if t != ignore:
            table[t, 0 if p == ignore else p] += 1
    return table


def random_pair(rng: np.random.Generator, n: int, dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    values = [*range(n), 255]
    shape = tuple(rng.integers(1, 20, 2))
    return rng.choice(values, shape).astype(dtype), rng.choice(values, shape).astype(dtype)


def test_planted_counts_and_shares() -> None:
    truth = np.array([[0, 0, 1, 1], [1, 1, 2, 255]], np.uint8)
    pred = np.array([[0, 1, 1, 1], [0, 2, 2, 2]], np.uint8)
    confusion = Confusion(4)
    confusion.update(pred, truth)
    assert confusion.table.tolist() == [[1, 1, 0, 0], [1, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    measures = confusion.measures()
    np.testing.assert_allclose(measures.iou, [1 / 3, 2 / 5, 1 / 2, np.nan])
    np.testing.assert_allclose(measures.precision, [1 / 2, 2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(measures.recall, [1 / 2, 1 / 2, 1, np.nan])
    np.testing.assert_allclose(measures.false_positive, [1 / 3, 1 / 5, 1 / 2, np.nan])
    np.testing.assert_allclose(measures.false_negative, [1 / 3, 2 / 5, 0, np.nan])
    assert measures.absent().tolist() == [False, False, False, True]
    assert measures.mean_iou() == pytest.approx((1 / 3 + 2 / 5 + 1 / 2) / 3)
    assert measures.mean_iou(np.array([False, True, False, True])) == pytest.approx(2 / 5)
    assert np.isnan(measures.mean_iou(np.array([False, False, False, True])))
    assert measures.truth.tolist() == [2, 4, 1, 0]
    assert measures.predicted.tolist() == [2, 3, 2, 0]


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.uint64])
def test_counts_equal_brute_force(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    fixed, growing = Confusion(n), Confusion()
    expected = np.zeros((n, n), np.int64)
    for _ in range(3):
        pred, truth = random_pair(rng, n, dtype)
        fixed.update(pred, truth)
        growing.update(pred, truth)
        expected += brute_table(pred, truth, n)
    np.testing.assert_array_equal(fixed.table, expected)
    size = len(growing.table)
    np.testing.assert_array_equal(growing.table, expected[:size, :size])
    assert expected[size:].sum() == expected[:, size:].sum() == 0
    assert fixed.table.dtype == np.int64


def test_shares_of_a_class_add_up() -> None:
    table = np.random.default_rng(0).integers(1, 100, (3, 5, 5))
    measures = measure(table)
    np.testing.assert_allclose(measures.iou + measures.false_positive + measures.false_negative, 1)
    for index in range(3):
        np.testing.assert_array_equal(measures.iou[index], measure(table[index]).iou)
    assert measures.mean_iou().shape == (3,)


def test_ignored_truth_is_not_counted_and_ignored_prediction_is_background() -> None:
    truth = np.array([[255, 255, 1]], np.uint8)
    pred = np.array([[1, 255, 255]], np.uint8)
    confusion = Confusion(2)
    confusion.update(pred, truth)
    assert confusion.table.tolist() == [[0, 0], [1, 0]]


def test_another_ignore_index() -> None:
    truth = np.array([[7, 255, 65_535]], np.uint16)
    confusion = Confusion(300)
    confusion.update(np.array([[1, 255, 3]], np.uint16), truth, ignore=65_535)
    assert confusion.table.sum() == 2
    assert confusion.table[255, 255] == 1


def test_an_image_that_is_ignored_throughout() -> None:
    confusion = Confusion()
    counts = confusion.update(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8))
    assert counts.table.sum() == 0
    assert np.isnan(confusion.measures().mean_iou())


def test_counts_go_beyond_32_bits() -> None:
    confusion = Confusion(2)
    confusion.table[1, 1] = 2**40
    confusion.update(np.ones((3, 3), np.uint8), np.ones((3, 3), np.uint8))
    assert confusion.table[1, 1] == 2**40 + 9


@pytest.mark.parametrize(
    ("pred", "truth", "message"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), "size"),
        (np.full((2, 2), 3, np.uint8), np.zeros((2, 2), np.uint8), "prediction contains the value 3"),
        (np.zeros((2, 2), np.uint8), np.full((2, 2), 3, np.uint8), "truth contains the value 3"),
        (np.full((2, 2), -1), np.zeros((2, 2), np.uint8), "value -1"),
        (np.full((2, 2), 3, np.uint8), np.full((2, 2), 255, np.uint8), "value 3"),
        (np.zeros((2, 2)), np.zeros((2, 2), np.uint8), "integer"),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8), "integer map"),
    ],
)
def test_what_cannot_be_counted_is_refused(pred: np.ndarray, truth: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Confusion(3).update(pred, truth)


def test_too_many_classes_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(UsageError, match="at most"):
        Confusion(MAX_CLASSES + 1)
    with pytest.raises(UsageError, match="outside"):
        count(np.full((1, 1), 60_000, np.uint16), np.zeros((1, 1), np.uint8))
