"""PAMR: identities, a slow oracle, a planted edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import blurred, truth_of
from tiny import draw

from pseudomask.refining.grid import scores_on_grid, shrink
from pseudomask.refining.pamr import Pamr, affinity, offsets, pamr
from pseudomask.scores import ScoreMap

DILATIONS = (1, 3)


def photo(h: int = 9, w: int = 11, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, h, w, generator=torch.Generator().manual_seed(seed))


def slow_step(image: np.ndarray, maps: np.ndarray, softness: float) -> np.ndarray:
    """One iteration pixel by pixel in float64, from the formulas: image (3, h, w), maps (n, h, w)."""
    _, h, w = image.shape
    out = np.zeros_like(maps)

    def at(y: int, x: int) -> tuple[int, int]:
        return min(max(y, 0), h - 1), min(max(x, 0), w - 1)

    for y in range(h):
        for x in range(w):
            places = [at(y + d * a, x + d * b) for d in DILATIONS for a in (-1, 0, 1) for b in (-1, 0, 1)]
            sigma = np.array([[channel[p] for p in places] for channel in image]).std(1, ddof=1)
            neighbours = [at(y + d * a, x + d * b) for d in DILATIONS for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
            k = [np.mean(-abs(image[:, *q] - image[:, y, x]) / (softness * sigma + 1e-8)) for q in neighbours]
            weights = np.exp(k - np.max(k))
            weights /= weights.sum()
            out[:, y, x] = sum(a * maps[:, *q] for a, q in zip(weights, neighbours, strict=True))
    return out


def test_it_is_the_formula() -> None:
    image, maps = photo(seed=1), torch.rand(2, 3, 9, 11)
    found = pamr(image, maps, iterations=2, dilations=DILATIONS, softness=0.3)
    for b in range(2):
        exact = image[b].double().numpy()
        expected = slow_step(exact, slow_step(exact, maps[b].double().numpy(), 0.3), 0.3)
        assert np.allclose(found[b].numpy(), expected, atol=1e-5)


def test_the_weights_of_a_pixel_sum_to_one() -> None:
    weights = affinity(photo(), DILATIONS)
    assert weights.shape == (2, 16, 9, 11)
    assert len(offsets(DILATIONS)) == 16
    assert torch.allclose(weights.sum(1), torch.ones(2, 9, 11))
    assert weights.min() >= 0


def test_constant_maps_stay_and_none_leaves_its_range() -> None:
    maps = torch.rand(2, 2, 9, 11)
    maps[:, 1] = 0.37
    out = pamr(photo(), maps)
    assert torch.allclose(out[:, 1], maps[:, 1], atol=1e-6)
    assert out[:, 0].min() >= maps[:, 0].min() - 1e-6
    assert out[:, 0].max() <= maps[:, 0].max() + 1e-6


def test_it_is_linear_and_each_photo_is_alone() -> None:
    image, a, b = photo(), torch.rand(2, 1, 9, 11), torch.rand(2, 1, 9, 11)
    whole = pamr(image, 0.3 * a + 0.7 * b)
    assert torch.allclose(whole, 0.3 * pamr(image, a) + 0.7 * pamr(image, b), atol=1e-6)
    assert torch.allclose(pamr(image, torch.cat([a, b], 1))[:, 1:], pamr(image, b), atol=1e-6)
    assert torch.allclose(pamr(image[1:], a[1:]), pamr(image, a)[1:], atol=1e-6)


def test_brightness_and_contrast_do_not_matter() -> None:
    image = photo()
    assert torch.allclose(affinity(image), affinity(0.2 * image + 0.4), atol=1e-4)


def test_a_flat_photo_gives_plain_means() -> None:
    weights = affinity(torch.full((1, 3, 8, 8), 0.6), (1, 2))
    assert torch.allclose(weights, torch.full_like(weights, 1 / 16))


def test_no_step_and_no_class_change_nothing() -> None:
    maps = torch.rand(2, 2, 9, 11)
    assert pamr(photo(), maps, iterations=0) is maps
    assert pamr(photo(), maps[:, :0]).shape == (2, 0, 9, 11)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_planted_edge_is_found(stride: int) -> None:
    """The photo's edge is at column 40, the seed's at 48: the mask moves to the photo's."""
    image = np.full((64, 80, 3), 30, np.uint8)
    image[:, 40:] = (200, 180, 90)
    image += np.random.default_rng(0).integers(0, 6, image.shape, np.uint8)
    values = np.zeros((1, 64, 80), np.float32)
    values[:, :, 48:] = 1.0
    seeds = ScoreMap((3,), values, (64, 80), 1)
    refined = Pamr(side=80 // stride, iterations=20).refine(image, seeds, 0.3)
    assert (refined.threshold, refined.scores.stride, refined.scores.classes) == (0.3, stride, (3,))
    expected = np.zeros((64, 80), bool)
    expected[:, 40:] = True
    assert (refined.scores.mask(0.3) > 0)[4:-4].mean() == pytest.approx(expected.mean(), abs=0.01)
    assert ((refined.scores.mask(0.3) > 0) == expected).mean() > 0.98
    assert ((seeds.mask(0.3) > 0) == expected).mean() < 0.91


def test_blurred_shapes_become_sharp() -> None:
    image = draw(["disc"], (96, 128), np.random.default_rng(3))
    seeds = blurred(image, sigma=8)
    truth = truth_of(image) > 0

    def iou(scores: ScoreMap) -> float:
        mask = scores.mask(0.4) > 0
        return float((mask & truth).sum() / (mask | truth).sum())

    assert iou(Pamr().refine(image, seeds, 0.4).scores) > iou(seeds) + 0.03


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (3, 5), (321, 2)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    stride = 4
    grid = (-(-size[0] // stride), -(-size[1] // stride))
    values = np.random.default_rng(0).random((2, *grid), np.float32)
    refined = Pamr().refine(np.full((*size, 3), 9, np.uint8), ScoreMap((1, 2), values, size, stride), 0.5)
    assert refined.scores.mask(0.5).shape == size
    assert refined.scores.stride == -(-max(size) // 160)


def test_the_grid_is_that_of_score_maps() -> None:
    """Block means; a photo whose sides are no multiples has its last row and column repeated."""
    image = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
    small = shrink(image, 2)
    assert small.shape == (3, 4)
    assert small[0, 0] == image[:2, :2].mean()
    assert small[2, 3] == image[4, 6]
    scores = ScoreMap((1,), np.random.default_rng(0).random((1, 5, 7), np.float32), (5, 7), 1)
    assert np.allclose(scores_on_grid(scores, 2)[0], shrink(scores.values[0], 2))
    assert np.array_equal(scores_on_grid(scores, 1), scores.values)
