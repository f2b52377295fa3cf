"""The processes share whole batches, those of one process alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tiny
import torch
from torch.distributed import HashStore

from pseudomask.extracting.ordering import batches, windowed
from pseudomask.extracting.photos import Photo, Photos, header_size
from pseudomask.extracting.shards import as_planned, plan_batches
from pseudomask.running.ranks import Ranks

SCALES, MAX_SIDE = (0.5, 0.3), 60


def photo(index: int, problem: str = "") -> Photo:
    return Photo(index, (1, 1), (torch.empty(1, 1, 3),), problem=problem)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of five sizes, two of which have the same views; one file is no image."""
    folder = tmp_path_factory.mktemp("photos")
    tiny.write_photos(folder, 23, sizes=((48, 64), (64, 48), (40, 40), (41, 40), (20, 60)))
    found = sorted(folder.rglob("*.png"))
    found[7].write_bytes(b"no image")
    return found


def of_all(paths: Sequence[Path], indices: Sequence[int], world: int) -> list[list[list[int]]]:
    """What each process plans; threads stand for them."""
    store = HashStore()

    def plan(rank: int) -> list[list[int]]:
        team = Ranks(rank, world)
        team.__dict__["store"] = store
        return plan_batches(paths, indices, 4, scales=SCALES, max_side=MAX_SIDE, team=team)

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(plan, range(world)))


@pytest.mark.parametrize("window", [9, 2048])
@pytest.mark.parametrize("world", [2, 3])
def test_all_plan_the_batches_of_one_process(
    paths: list[Path], world: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pseudomask.extracting.ordering.WINDOW", window)
    indices = [i for i in range(len(paths)) if i % 5 != 3]
    options = {"scales": SCALES, "max_side": MAX_SIDE, "max_pixels": 10**6}
    order = list(windowed(indices, lambda index: header_size(paths[index]), MAX_SIDE))
    photos = Photos(paths, order, **options, allow_truncated=False, keep_whole=False)  # type: ignore[arg-type]
    alone = [[one.index for one in batch] for batch in batches(photos, 4)]
    assert [7] in alone
    assert max(map(len, alone)) == 4
    assert of_all(paths, indices, world) == [alone] * world


def test_photos_come_in_any_order_and_leave_as_planned() -> None:
    arriving = [photo(5), photo(0), photo(3, "cut off"), photo(2), photo(4, "cut off"), photo(1)]
    found = [[one.index for one in batch] for batch in as_planned(arriving, [[0, 1], [2, 3, 5], [4]])]
    assert found == [[3], [5, 2], [4], [0, 1]]


def test_a_batch_whose_last_photo_cannot_be_read_is_complete_too() -> None:
    found = [[one.index for one in batch] for batch in as_planned([photo(0), photo(1, "cut off")], [[0, 1]])]
    assert found == [[1], [0]]
