"""Training crops: what they depend on, where they lie, what becomes of broken photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from pseudomask.data.pixels import IMAGENET
from pseudomask.training.samples import TrainingCrops, Window, augment, batch_plan, epoch_order, one_hot


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("crops") / "photos"
    tiny.write_photos(folder, 5)
    return sorted(folder.rglob("*.png"))


def crops(paths: list[Path], *, seed: int = 0) -> TrainingCrops:
    tags = np.eye(5, 3, dtype=np.float32)
    return TrainingCrops(paths, tags, crop=32, sides=(20, 40), seed=seed, around=IMAGENET.mean_level)


def test_a_crop_depends_on_seed_epoch_and_photo_alone(paths: list[Path]) -> None:
    places = [(epoch, photo) for epoch in range(2) for photo in range(5)]
    forward = {place: crops(paths)[place][0].numpy() for place in places}
    data = crops(paths)
    np.random.seed(7)  # noqa: NPY002 - whatever the global state is
    for place in reversed(places):
        assert np.array_equal(data[place][0].numpy(), forward[place])
    assert not np.array_equal(forward[0, 1], forward[1, 1])
    assert not np.array_equal(crops(paths, seed=1)[0, 1][0].numpy(), forward[0, 1])


def test_items_have_tags_and_shape(paths: list[Path]) -> None:
    image, tags, problem = crops(paths)[0, 1]
    assert (tuple(image.shape), image.dtype, problem) == ((32, 32, 3), torch.uint8, "")
    assert tags.tolist() == [0, 1, 0]
    assert len(crops(paths)) == 5


def test_an_unreadable_photo_is_grey_and_loses_its_tags(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    data = TrainingCrops(
        [tmp_path / "broken.png"],
        np.ones((1, 3), np.float32),
        crop=32,
        sides=(20, 40),
        seed=0,
        around=IMAGENET.mean_level,
    )
    image, tags, problem = data[0, 0]
    assert (image == torch.from_numpy(IMAGENET.mean_level)).all()
    assert IMAGENET.to_input(image[None]).abs().max() < 0.01
    assert tags.tolist() == [0, 0, 0]
    assert str(tmp_path / "broken.png") in problem
    assert "\n" not in problem


def test_epoch_order_is_a_fresh_permutation_each_epoch() -> None:
    orders = [tuple(epoch_order(5, epoch, 20).tolist()) for epoch in range(3)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len(set(orders)) == 3
    assert tuple(epoch_order(5, 1, 20).tolist()) == orders[1]
    assert tuple(epoch_order(6, 1, 20).tolist()) != orders[1]


def test_batch_plan_drops_the_ragged_end() -> None:
    plan = batch_plan(0, 3, 11, 4)
    assert len(plan) == 3 * 2
    assert all(len(batch) == 4 for batch in plan)
    for epoch in range(3):
        photos = [p for batch in plan[2 * epoch : 2 * epoch + 2] for e, p in batch if e == epoch]
        assert photos == epoch_order(0, epoch, 11)[:8].tolist()


def test_batch_plan_of_few_photos_keeps_the_only_batch() -> None:
    plan = batch_plan(0, 2, 3, 16)
    assert [sorted(p for _, p in batch) for batch in plan] == [[0, 1, 2]] * 2
    assert [len(b) for b in batch_plan(0, 1, 4, 4)] == [4]


@pytest.mark.parametrize("size", [(8, 8), (5, 12), (12, 5), (20, 30), (8, 9), (1, 1)])
def test_a_window_keeps_what_fits_and_fills_the_rest(size: tuple[int, int]) -> None:
    """Pixels carry their own place, so that each crop can be checked by itself."""
    h, w = size
    image = np.stack(np.mgrid[1 : h + 1, 1 : w + 1], 2)  # (h, w, 2)
    corners = set()
    for seed in range(60):
        window = Window.random(size, 8, np.random.default_rng(seed))
        found = window.cut(image, np.array([0, -1]))
        assert (found.shape, found.dtype) == ((8, 8, 2), image.dtype)
        inside = found[..., 0] > 0
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert (len(rows), len(columns)) == (min(h, 8), min(w, 8))
        assert inside.sum() == len(rows) * len(columns)
        assert (found[~inside] == (0, -1)).all()
        part = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        top, left = part[0, 0]
        assert np.array_equal(part, image[top - 1 : top - 1 + len(rows), left - 1 : left - 1 + len(columns)])
        assert np.array_equal(window.cut(image[..., 0], 0), found[..., 0]), "planes are cut alike"
        corners.add((rows[0], columns[0], top, left))
    places = (abs(h - 8) + 1) * (abs(w - 8) + 1)
    assert len(corners) >= min(places, 10), "every place should come up"
    if places < 10:
        assert len(corners) == places


def test_augment_lays_a_small_photo_on_the_mean_colour() -> None:
    found = augment(
        np.full((20, 40, 3), 90, np.uint8),
        crop=48,
        sides=(40, 40),
        rng=np.random.default_rng(0),
        around=IMAGENET.mean_level,
    )
    inside = (found == 90).all(2)
    assert inside.sum() == 20 * 40
    assert (found[~inside] == IMAGENET.mean_level).all()


def test_augment_draws_sides_in_the_range_and_mirrors_half(monkeypatch: pytest.MonkeyPatch) -> None:
    from pseudomask.training import samples

    seen: list[tuple[int, int]] = []
    true_resize = samples.resize

    def spy(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        seen.append(size)
        return true_resize(image, size)

    monkeypatch.setattr(samples, "resize", spy)
    ramp = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[None, :, None], 20, 0).repeat(3, 2)  # (20, 40, 3)
    mirrored = 0
    for seed in range(300):
        found = augment(ramp, crop=64, sides=(10, 14), rng=np.random.default_rng(seed), around=IMAGENET.mean_level)
        there = found[..., 0] != IMAGENET.mean_level[0]
        row = found[there.any(1)][0, :, 0]
        row = row[row != IMAGENET.mean_level[0]].astype(int)
        mirrored += bool(row[0] > row[-1])
    assert {max(size) for size in seen} == {10, 11, 12, 13, 14}
    assert all(size[0] == round(size[1] / 2) for size in seen)
    assert 110 < mirrored < 190


def test_one_hot() -> None:
    assert one_hot((0, 2), 4).tolist() == [1, 0, 1, 0]
    assert one_hot((), 2).tolist() == [0, 0]
