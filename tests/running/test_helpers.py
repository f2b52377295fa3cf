"""What helps the network stands behind it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pseudomask.running.helpers import lower_priority, lower_thread_priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")


class Told(Dataset[tuple[int, int]]):
    """What the process that reads it may use."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> tuple[int, int]:
        return os.getpriority(os.PRIO_PROCESS, 0), torch.get_num_threads()


@pytest.fixture
def mine() -> Iterator[int]:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    yield before
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_decoder_has_one_thread_and_a_lower_priority(mine: int) -> None:
    """Forked after OpenCV's threads were at work here, as those of a second window of photos are."""
    cv2.LUT(np.zeros((2000, 2000, 3), np.uint8), np.zeros((1, 256, 3), np.float32))
    time.sleep(0.3)  # until they wait for more
    loader = DataLoader(Told(), batch_size=None, num_workers=1, worker_init_fn=lower_priority, timeout=60)
    assert [tuple(one) for one in loader] == [(min(19, mine + 10), 1)] * 2


def test_a_writing_thread_has_a_lower_priority_and_no_other(mine: int) -> None:
    with ThreadPoolExecutor(1, initializer=lower_thread_priority) as pool:
        assert pool.submit(os.getpriority, os.PRIO_PROCESS, 0).result() == min(19, mine + 10)


def test_where_the_system_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbid)
    lower_thread_priority()
    threads = torch.get_num_threads()
    try:
        monkeypatch.setattr(os, "nice", forbid)
        lower_priority()
    finally:
        torch.set_num_threads(threads)
