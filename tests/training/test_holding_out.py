"""Which photos are held out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from pseudomask.training.holding_out import at_random, stratified
from pseudomask.training.split import gather


def tags_of(photos: int, shares: dict[int, float], seed: int = 1) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    return [tuple(c for c, share in shares.items() if rng.random() < share) for _ in range(photos)]


@pytest.mark.parametrize("seed", range(4))
def test_every_class_gives_its_share(seed: int) -> None:
    tags = tags_of(400, {0: 0.6, 1: 0.3, 2: 0.1, 3: 0.04}, seed)
    held = stratified(tags, 0.1, seed)
    for name in range(4):
        have = sum(name in one for one in tags)
        assert sum(name in tags[i] for i in held) == pytest.approx(0.1 * have, abs=1.01 if name else 4), name
    assert sum(not tags[i] for i in held) == pytest.approx(0.1 * sum(not one for one in tags), abs=1.01)
    assert len(held) == pytest.approx(40, abs=4)


def test_what_chance_left_out_is_there() -> None:
    """Sixty photos with and sixty without: chance alone holds out none of one kind for some seed."""
    tags: list[tuple[int, ...]] = [(0,)] * 60 + [()] * 60
    shown = lambda draw, seed: sum(bool(tags[i]) for i in draw(tags, 0.05, seed))  # noqa: E731
    assert {shown(stratified, seed) for seed in range(40)} == {3}
    assert {shown(at_random, seed) for seed in range(40)} >= {1, 5}
    assert stratified(tags, 0.05, 1) != stratified(tags, 0.05, 2)
    assert stratified(tags, 0.05, 1) == stratified(tags, 0.05, 1)


def test_no_class_is_held_out_as_a_whole() -> None:
    lone = [(0,)] * 30 + [(0, 1)] + [(0, 2)] * 2
    for seed in range(20):
        for fraction in (0.05, 0.5, 0.9):
            left = [one for i, one in enumerate(lone) if i not in stratified(lone, fraction, seed)]
            assert {name for one in left for name in one} == {0, 1, 2}


def test_many_rare_classes_give_some_all_the_same() -> None:
    tags = [(c,) for c in range(50) for _ in range(6)]
    held = stratified(tags, 0.05, 0)
    assert len(held) == 15
    assert stratified(tags, 0.0, 0) == []
    assert stratified([(0,)], 0.5, 0) == []


def test_a_training_that_0_1_0_began_goes_on_with_its_photos(room, settings, runs) -> None:  # type: ignore[no-untyped-def]
    config = settings(runs / "x")
    new = gather(config)
    keys = [item.key for item in new.training.items + new.held_out.items]
    tags = {**(new.training.tags or {}), **(new.held_out.tags or {})}
    keys = sorted(keys)
    old = {keys[i] for i in at_random([tags[key] for key in keys], config.val_fraction, config.seed)}
    whole = gather(dataclasses.replace(config, val_fraction=0.0)).training
    begun = whole.subset([item for item in whole.items if item.key not in old])
    assert begun.images_hash != new.training.images_hash, "else this test shows nothing"
    config.run.mkdir(parents=True)
    record = {"schema": 1, "command": "train-cls", "config": {}, "images_hash": begun.images_hash}
    (config.run / "run.json").write_text(json.dumps(record))
    assert gather(config).training.images_hash == begun.images_hash
    assert gather(dataclasses.replace(config, overwrite=True)).training.images_hash == new.training.images_hash
