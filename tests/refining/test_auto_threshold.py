"""The threshold without truth: its agreement is Geary's ratio, and it finds planted edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import KEYS, Settings, blurred, truth_of
from tiny import draw

from pseudomask.errors import UsageError
from pseudomask.refining.auto_threshold import (
    REACHES,
    THRESHOLDS,
    choose,
    neighbours,
    photo_agreement,
    spread,
)
from pseudomask.refining.refine import refine
from pseudomask.scores import ScoreMap, load_scores


def ratio(photo: np.ndarray, mask: np.ndarray) -> float:
    """1 − Geary's ratio, pair by pair in loops; 0 where the mask is constant."""
    if mask.all() or not mask.any():
        return 0.0
    h, w = mask.shape
    parted = total = 0.0
    for reach in REACHES:
        pairs = [
            ((y, x), (y + reach * dy, x + reach * dx))
            for y in range(h)
            for x in range(w)
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1))
            if y + reach * dy < h and 0 <= x + reach * dx < w
        ]
        apart = [np.abs(photo[p] - photo[q]).mean() for p, q in pairs]
        weights = np.exp(-np.array(apart) / np.mean(apart))
        parted += sum(weight for weight, (p, q) in zip(weights, pairs, strict=True) if mask[p] != mask[q])
        total += weights.sum()
    return float(1 - parted / total / (2 * mask.mean() * (1 - mask.mean())))


def test_it_is_gearys_ratio_at_every_threshold() -> None:
    rng = np.random.default_rng(0)
    photo = rng.random((7, 9, 3)).astype(np.float32)
    best = np.rint(rng.random((7, 9)) * 100).astype(np.float32) / 100  # many lie exactly on a threshold
    found = neighbours(photo, best, THRESHOLDS[::9])
    for t, value in zip(THRESHOLDS[::9], found, strict=True):
        assert value == pytest.approx(ratio(photo, best > np.float32(t)), abs=1e-6)


def test_only_ratios_of_colour_count() -> None:
    rng = np.random.default_rng(1)
    photo, best = rng.random((20, 30, 3)).astype(np.float32), rng.random((20, 30), np.float32)
    assert neighbours(255 * photo, best) == pytest.approx(neighbours(photo, best), abs=1e-5)
    assert neighbours(photo[:, ::-1], best[:, ::-1]) == pytest.approx(neighbours(photo, best), abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1), (2, 2)])
def test_photos_smaller_than_a_pair(shape: tuple[int, int]) -> None:
    best = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    assert np.isfinite(neighbours(np.zeros((*shape, 3), np.float32), best)).all()


def test_both_ends_win_nothing() -> None:
    """A mask of all or nothing parts no pixels, which means nothing."""
    photo = np.random.default_rng(2).random((8, 8, 3)).astype(np.float32)
    assert (neighbours(photo, np.full((8, 8), 0.5, np.float32)) == 0).all()


def test_random_masks_are_worth_nothing() -> None:
    rng = np.random.default_rng(1)
    found = neighbours(rng.random((300, 300, 3)).astype(np.float32), rng.random((300, 300), np.float32))
    assert np.abs(found).max() < 0.03


def test_it_finds_the_height_of_the_edge() -> None:
    """A ramp of scores across a photo of two colours: the cut belongs where the colours meet."""
    photo = np.zeros((40, 80, 3), np.float32)
    photo[:, 50:] = 1
    photo += np.random.default_rng(3).normal(0, 0.1, photo.shape).astype(np.float32)
    ramp = np.broadcast_to((np.arange(80, dtype=np.float32) + 0.5) / 80, (40, 80))
    assert THRESHOLDS[int(neighbours(photo, ramp).argmax())] == pytest.approx(50 / 80, abs=0.011)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_it_follows_the_scores_scale(power: float) -> None:
    """The same blobs raised to a power want another threshold; the chosen one is nearly as good as the best."""
    rng = np.random.default_rng(4)
    curves, counts = [], np.zeros((len(THRESHOLDS), 2))
    for names in (["disc"], ["square"], ["disc", "bar"], ["bar"]):
        image = draw(names, (96, 128), rng)
        seeds = blurred(image, sigma=8)
        seeds = ScoreMap(seeds.classes, seeds.values**power, seeds.size, seeds.stride)
        curve = photo_agreement(image, seeds)
        assert curve is not None
        curves.append(curve)
        truth, best = truth_of(image) > 0, seeds.best()[0]
        for i, t in enumerate(THRESHOLDS):
            counts[i] += ((best > t) & truth).sum(), ((best > t) | truth).sum()
    iou = counts[:, 0] / counts[:, 1]
    chosen = THRESHOLDS.index(choose(curves))
    assert iou[chosen] > iou.max() - 0.1


def test_photos_without_classes_say_nothing() -> None:
    empty = ScoreMap((), np.zeros((0, 3, 4), np.float32), (12, 16), 4)
    assert photo_agreement(np.zeros((12, 16, 3), np.uint8), empty) is None
    with pytest.raises(UsageError, match="give a number") as caught:
        choose([])
    assert caught.value.exit_code == 2


def test_the_sample_is_spread() -> None:
    assert spread(5, 64) == [0, 1, 2, 3, 4]
    assert spread(100, 4) == [12, 37, 62, 87]
    assert len(spread(1000, 64)) == 64


def test_refine_uses_it(settings: Settings, source: Path, tmp_path: Path) -> None:
    result = refine(settings(tmp_path / "out", threshold="auto"))
    curves = [
        photo_agreement(
            np.asarray(Image.open(source / f"photos/{key}.png")), load_scores(source / f"seeds/scores/{key}.npz")
        )
        for key in KEYS
    ]
    assert result.threshold == choose([curve for curve in curves if curve is not None])
    assert result.threshold_from == "chosen without truth, on 6 photos"
    assert refine(settings(tmp_path / "out", threshold="auto")).skipped == 6
    told = dict(refine(settings(tmp_path / "new", threshold="auto", auto_sample=2, dry_run=True)).summary())
    assert told["threshold"].endswith("on 2 photos")
    assert not (tmp_path / "new").exists()
