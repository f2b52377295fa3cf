"""The cases of `gpu_cases.py` on a real GPU: this module stands where the simulation does.

Counted are the lines of pseudomask at which torch says that it waits for the device, and what memory was asked for in
the place of launches. What copies, pinning and overflow cost only the simulation tells.

    python real_gpu.py FOLDER [CASE …]
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from gpu_stubs import ABSENT, where

_WAITS = "synchronizing CUDA operation"


class Log:
    """The fields of the simulation's log."""

    def __init__(self) -> None:
        self.syncs, self.waits = Counter[str](), Counter[str]()
        self.copies, self.pageable = Counter[str](), Counter[str]()
        self.overflows, self.fused = Counter[str](), Counter[str]()
        self.no_kernel: set[str] = set()
        self._before = _allocations()

    @property
    def launches(self) -> int:
        return _allocations() - self._before


def _allocations() -> int:
    return int(torch.cuda.memory_stats().get("allocation.all.allocated", 0))


@contextmanager
def simulated_gpu(*, bf16: bool = True, float64: bool = True) -> Iterator[Log]:
    """Within the block what waits for the device is counted; the device is what it is."""
    torch.cuda.init()
    log, show = Log(), warnings.showwarning

    def told(message: Any, *args: Any, **kwargs: Any) -> None:
        if _WAITS not in str(message):
            return show(message, *args, **kwargs)
        main = threading.current_thread() is threading.main_thread()
        (log.syncs if main else log.waits)[where()] += 1
        return None

    with warnings.catch_warnings(), patch.object(warnings, "showwarning", told):
        warnings.filterwarnings("always", f".*{_WAITS}.*")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield log
        finally:
            torch.cuda.set_sync_debug_mode("default")


def out_of_memory(place: Any, name: str) -> dict[str, Any]:
    """Photos that fit on the GPU one or two at a time, in a batch of eight: it is halved, the masks stay the same."""
    import tiny
    from gpu_cases import compared

    from pseudomask import api, config
    from pseudomask.running.reporter import SilentReporter

    tiny.write_photos(place.folder / "large", 8, sizes=((1000, 1000),))
    warned: list[str] = []

    class Heard(SilentReporter):
        def warn(self, message: str) -> None:
            warned.append(message)

    def run(device: str, again: str = "", **more: Any) -> Path:
        out = place.folder / name / f"{device}{again}"
        settings: dict[str, Any] = {"images": place.folder / "large", "labels": place.folder / "large.csv"}
        settings |= {"weights": place.weights, "workers": 0, "batch_size": 8, "refine": ("none",), "tta": "full"}
        api.extract(config.ExtractConfig(out=out, device=device, amp="off", **settings | more), Heard())
        return out

    here = run("cpu", batch_size=1)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run("cuda", "-freely")
    most, whole = torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory
    warned.clear()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(most * 0.4 / whole)
    try:
        with simulated_gpu() as log:
            there = run("cuda")
            launches = log.launches
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {"launches": launches, "no_kernel": [], "warned": warned} | compared(here, there)


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit(ABSENT)
    sys.modules["simulated"] = sys.modules[__name__]
    import gpu_cases

    gpu_cases.main(gpu_cases.CASES | {"out of memory": out_of_memory}, Path(sys.argv[1]), sys.argv[2:])
