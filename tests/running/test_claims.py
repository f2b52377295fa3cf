"""Processes share work by a counter; here they are threads with one store."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from torch.distributed import HashStore

from pseudomask.running.claims import Tally, _borders, claims
from pseudomask.running.ranks import ALONE, Ranks


def team(world: int) -> list[Ranks]:
    store, jobs = HashStore(), [Ranks(rank, world) for rank in range(world)]
    for job in jobs:
        job.__dict__["store"] = store
    return jobs


def test_alone_all_is_claimed() -> None:
    assert list(claims(ALONE, 3, 8)) == [0, 1, 2]
    assert Tally(ALONE).add(4) == 4


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_each_position_is_claimed_once(count: int) -> None:
    def work(job: Ranks) -> list[int]:
        return [*claims(job, count, 4), *(-1 - i for i in claims(job, count, 4))]

    with ThreadPoolExecutor(3) as pool:
        found = [i for part in pool.map(work, team(3)) for i in part]
    assert sorted(found) == [*range(-count, 0), *range(count)], "two shares do not mix"


def test_blocks_are_bounded_and_shorten() -> None:
    borders = _borders(1000, 8, 16)
    lengths = [after - before for before, after in pairwise(borders)]
    assert sum(lengths) == 1000
    assert max(lengths) == 16
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-31:] == [1] * 31, "nobody waits for more than one at the end"


def test_a_slow_process_delays_nobody() -> None:
    """Of 60, each of 5 ms, equal shares would cost the slow one 20 times 100 ms."""

    def work(job: Ranks) -> int:
        return sum(time.sleep(0.1 if job.rank == 2 else 0.005) is None for _ in claims(job, 60, 4))

    with ThreadPoolExecutor(3) as pool:
        shares = list(pool.map(work, team(3)))
    assert sum(shares) == 60
    assert shares[2] < 10


def test_a_tally_tells_what_all_have_done() -> None:
    first, second = (Tally(job) for job in team(2))
    assert first.add(2) == 2
    assert second.add(3) == 5
    assert first.add() == 3
    assert first.add(1) == 1
