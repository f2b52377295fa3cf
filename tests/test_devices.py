"""Which device, precision and number of workers; GPUs are acted."""

from __future__ import annotations

import pytest
import torch

from pseudomask import devices
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.errors import DeviceError, UsageError
from pseudomask.running.ranks import Ranks

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def pretend(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_auto_takes_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, expected in (({}, "cpu"), ({"mps": True}, "mps"), ({"gpus": 1, "mps": True}, "cuda")):
        pretend(monkeypatch, **machine)  # type: ignore[arg-type]
        assert pick_device("auto") == torch.device(expected)


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=2, mps=True)
    for name in ("cpu", "cuda", "cuda:1", "mps"):
        assert pick_device(name) == torch.device(name)
    with pytest.raises(DeviceError, match="--device cuda:2: this machine has 2 CUDA devices"):
        pick_device("cuda:2")


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=2)
    for local in (0, 1):
        monkeypatch.setattr(devices, "ranks", lambda local=local: Ranks(4 + local, 6, local, 2))
        assert [pick_device(name) for name in ("auto", "cuda")] == [torch.device("cuda", local)] * 2
        assert pick_device("cuda:0") == torch.device("cuda:0")
        assert pick_device("cpu") == CPU
    monkeypatch.setattr(devices, "ranks", lambda: Ranks(2, 3, 2, 3))
    with pytest.raises(
        DeviceError, match="--device cuda:2: this machine has 2 CUDA devices; start that many processes"
    ):
        pick_device("auto")


def test_an_absent_device_is_an_error_with_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(DeviceError, match="use --device cpu or auto") as caught:
            pick_device(name)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "cuda:-1"])
def test_names_that_mean_nothing(name: str) -> None:
    with pytest.raises(UsageError, match="must be one of auto, cpu, cuda, cuda:N, mps"):
        pick_device(name)


def test_precision_by_name() -> None:
    assert pick_amp("off", CUDA) is None
    assert pick_amp("bf16", CPU) is torch.bfloat16
    assert pick_amp("fp16", CUDA) is torch.float16
    with pytest.raises(UsageError, match="fp16 is for GPUs"):
        pick_amp("fp16", CPU)
    with pytest.raises(UsageError, match="'int8' must be one of"):
        pick_amp("int8", CPU)


def test_precision_by_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, has=has: (8, 0) if has else (7, 5))
        monkeypatch.setattr(devices, "_cpu_has_bf16", lambda has=has: has)
        assert pick_amp("auto", CUDA) is (torch.bfloat16 if has else torch.float16)
        assert pick_amp("auto", CPU) is (torch.bfloat16 if has else None)
        assert pick_amp("auto", torch.device("mps")) is None
    # each GPU is asked for itself
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0) if device.index else (7, 0))
    assert [pick_amp("auto", torch.device("cuda", i)) for i in (0, 1)] == [torch.float16, torch.bfloat16]
    monkeypatch.undo()
    assert isinstance(devices._cpu_has_bf16(), bool)


def test_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [pick_workers(n) for n in (0, 3)] == [0, 3]
    for processors, expected in ((1, 1), (2, 1), (6, 5), (64, 8)):
        monkeypatch.setattr(devices, "cores", lambda processors=processors: processors)
        assert pick_workers(-1) == expected
