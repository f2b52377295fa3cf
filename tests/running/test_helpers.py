"""What helps the network stands behind it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pseudomask.running.helpers import stand_back, thread_stands_back

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")


class Told(Dataset[tuple[int, int, int]]):
    """What the process that reads it may use."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> tuple[int, int, int]:
        return os.getpriority(os.PRIO_PROCESS, 0), torch.get_num_threads(), cv2.getNumThreads()


@pytest.fixture
def mine() -> Iterator[int]:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    yield before
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_decoder_has_one_thread_and_a_lower_priority(mine: int) -> None:
    told = [tuple(one) for one in DataLoader(Told(), batch_size=None, num_workers=1, worker_init_fn=stand_back)]
    assert told == [(min(19, mine + 10), 1, 1)] * 2


def test_a_writing_thread_has_a_lower_priority_and_no_other(mine: int) -> None:
    with ThreadPoolExecutor(1, initializer=thread_stands_back) as pool:
        assert pool.submit(os.getpriority, os.PRIO_PROCESS, 0).result() == min(19, mine + 10)


def test_where_the_system_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbid)
    thread_stands_back()
    threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        monkeypatch.setattr(os, "nice", forbid)
        stand_back()
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
