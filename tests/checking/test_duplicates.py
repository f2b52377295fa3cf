"""Photos that show the same are found, others are not, and time does not explode."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from pseudomask.training.duplicates import SIDE, groups


def photos(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 16, 16, 3) of smooth colours."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for one in low])


def found(small: np.ndarray) -> list[list[int]]:
    return [group.tolist() for group in groups(small)]


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_different_photos_have_no_twin(count: int) -> None:
    assert found(photos(count) if count else np.zeros((0, SIDE, SIDE, 3), np.uint8)) == []


def test_copies_with_noise_or_other_light_are_found() -> None:
    small = photos(200).astype(int)
    rng = np.random.default_rng(1)
    noisy = small[:50] + rng.normal(0, 4, small[:50].shape)
    lighter = small[50:100] * 0.95 + 8
    everything = np.clip(np.concatenate([small, noisy, lighter]), 0, 255).astype(np.uint8)
    assert found(everything) == [[i, 200 + i] for i in range(100)]


def test_another_light_alone_is_no_other_photo_but_far_lighter_is() -> None:
    one = (photos(1)[0] // 2).astype(int)
    assert found(np.stack([one, one + 15]).astype(np.uint8)) == [[0, 1]]
    assert found(np.stack([one, one + 60]).astype(np.uint8)) == []


def test_things_on_white_are_told_apart_by_the_thing() -> None:
    """Most of such photos is the same white."""
    small = np.full((3, SIDE, SIDE, 3), 255, np.uint8)
    small[0, 5:11, 6:9] = small[1, 5:11, 6:9] = 40
    small[2, 6:9, 5:11] = 40
    assert found(small) == [[0, 1]]


def test_plain_photos_are_told_apart_by_their_colour() -> None:
    small = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    small[0, :], small[1, :], small[2, :] = (200, 20, 20), (20, 200, 20), (201, 20, 20)
    assert found(small) == [[0, 2]]


def test_a_chain_of_alike_photos_is_one_group() -> None:
    start = photos(2)
    shift = [start[0] * (1 - t) + start[1] * t for t in np.linspace(0, 0.3, 30)]
    assert found(np.stack(shift).astype(np.uint8)) == [list(range(30))]
    assert found(np.stack([shift[0], shift[-1]]).astype(np.uint8)) == [], "its ends are far apart"


def test_many_photos_and_many_copies_take_no_time() -> None:
    """All pairs of 8,000 would be 32 million; a thousand copies of one photo alone half a million."""
    small = photos(8000)
    small[4000:5000] = small[0]
    started = time.process_time()
    (group,) = found(small)
    assert time.process_time() - started < 5
    assert group == [0, *range(4000, 5000)]
