"""The threshold without truth: its agreement is Cohen's kappa, and it finds planted edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import KEYS, Settings, blurred, truth_of
from tiny import draw

from pseudomask.errors import UsageError
from pseudomask.refining.auto_threshold import THRESHOLDS, agreement, choose, photo_agreement, spread
from pseudomask.refining.refine import refine
from pseudomask.scores import ScoreMap, load_scores


def kappa(a: np.ndarray, b: np.ndarray) -> float:
    """From the 2 × 2 table, as in textbooks; 0 where a mask is constant."""
    if a.all() or b.all() or not a.any() or not b.any():
        return 0.0
    table = np.array([[(a & b).mean(), (a & ~b).mean()], [(~a & b).mean(), (~a & ~b).mean()]])
    chance = (table.sum(1) * table.sum(0)).sum()
    return float((np.trace(table) - chance) / (1 - chance))


def test_agreement_is_kappa_at_every_threshold() -> None:
    rng = np.random.default_rng(0)
    before = np.rint(rng.random((20, 30)) * 100).astype(np.float32) / 100  # many lie exactly on a threshold
    after = np.clip(before + rng.normal(0, 0.2, before.shape), 0, 1).astype(np.float32)
    found = agreement(before, after)
    for t, value in zip(THRESHOLDS, found, strict=True):
        assert value == pytest.approx(kappa(before > np.float32(t), after > np.float32(t)), abs=1e-9)
    assert agreement(before, before)[:-1] == pytest.approx(1)


def test_both_ends_win_nothing() -> None:
    """Where all or nothing is foreground, both masks agree entirely, which means nothing."""
    constant = np.full((8, 8), 0.5, np.float32)
    assert (agreement(constant, constant) == 0).all()
    half = constant.copy()
    half[:, :4] = 0.1
    found = agreement(half, constant)
    assert (found == 0).all(), "one of the two is constant at each threshold"


def test_independent_masks_agree_by_chance_only() -> None:
    rng = np.random.default_rng(1)
    found = agreement(rng.random((300, 300), np.float32), rng.random((300, 300), np.float32))
    assert np.abs(found).max() < 0.03


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
    with pytest.raises(UsageError, match="give --threshold a number") as caught:
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
