"""A threshold far from the automatic one is a doubt."""

from __future__ import annotations

import numpy as np
import pytest

from pseudomask.refining.agreements import MOST, Agreements
from pseudomask.scores import ScoreMap


def scene(rng: np.random.Generator) -> tuple[np.ndarray, ScoreMap]:
    """A light square on dark ground with scores of 0.6 on it, and noise below 0.05 elsewhere."""
    photo = np.full((64, 64, 3), 30, np.uint8)
    photo[24:40, 24:40] = 220
    values = rng.random((1, 64, 64)).astype(np.float32) * 0.05
    values[0, 24:40, 24:40] = 0.6
    return photo, ScoreMap((1,), values, (64, 64), 1)


@pytest.fixture
def seen() -> Agreements:
    found, rng = Agreements(), np.random.default_rng(0)
    keys = [f"p{i}" for i in range(10)]
    found.choose(keys)
    for key in keys:
        found.see(key, *scene(rng))
    return found


def test_a_threshold_in_the_noise_is_doubted(seen: Agreements) -> None:
    (doubt,) = seen.doubts(0.02, 200)
    assert doubt.kind == "threshold"
    assert 100 <= doubt.masks <= 200
    assert f"{doubt.masks // 20} of 10 sampled masks" in doubt.text
    assert "--threshold auto" in doubt.text


@pytest.mark.parametrize("threshold", [0.35, 0.45, 0.55])
def test_one_whose_masks_are_as_good_is_not(seen: Agreements, threshold: float) -> None:
    assert seen.doubts(threshold, 200) == []


def test_few_photos_tell_nothing(seen: Agreements) -> None:
    for key in list(seen.curves)[:3]:
        del seen.curves[key]
    assert seen.doubts(0.02, 200) == []


def test_no_more_photos_than_needed_are_looked_at() -> None:
    found = Agreements()
    found.choose([str(i) for i in range(1000)])
    assert len(found.keys) == MOST
    found.see("not chosen", *scene(np.random.default_rng(0)))
    assert not found.curves
