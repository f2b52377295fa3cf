"""Choose the device, precision and number of workers."""

from __future__ import annotations

import torch

from pseudomask.errors import DeviceError, UsageError
from pseudomask.running.machine import cores
from pseudomask.running.ranks import ranks
from pseudomask.suggest import did_you_mean


def pick_device(name: str) -> torch.device:
    """The device called `name`; `auto` picks the first available of CUDA, MPS and CPU.

    Each process of a torchrun gets its own GPU, unless `name` includes a number. Raises `DeviceError` if the device
    is missing and `UsageError` for an unknown name.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    job = ranks()
    if name == "cuda" and not job.alone:
        name = f"cuda:{job.local}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(_unknown(name)) from None
    if device.type == "cpu":
        return device
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            advice = "use --device cpu or auto" if job.alone else "start that many processes, or use --device cpu"
            raise DeviceError(f"--device {name}: this machine has {count} CUDA devices; {advice}")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError("--device mps: not available on this machine; use --device cpu or auto")
    else:
        raise UsageError(_unknown(name))
    return device


def make_current(device: torch.device) -> None:
    """Make a GPU this thread's current one; else what names no device, as pinned memory, would open GPU 0 too."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def _unknown(name: str) -> str:
    near = did_you_mean(name, ("auto", "cpu", "cuda", "mps"))
    return f"--device {name!r} must be one of auto, cpu, cuda, cuda:N, mps{near}"


def _cpu_has_bf16() -> bool:
    """Whether the CPU has AVX-512 BF16 or AMX; without them, bf16 is emulated and slower than float32."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def _gpu_has_bf16(device: torch.device) -> bool:
    """Whether this GPU computes in bfloat16 (Ampere and later, AMD); older ones emulate it, and float16 is faster."""
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def pick_amp(name: str, device: torch.device) -> torch.dtype | None:
    """The autocast type, or None for float32; `auto` means bf16 if the device supports it."""
    if name == "off":
        return None
    if name == "bf16":
        return torch.bfloat16
    if name == "fp16":
        if device.type == "cpu":
            raise UsageError("--amp fp16 is for GPUs; on a CPU use bf16 or off")
        return torch.float16
    if name != "auto":
        raise UsageError(f"--amp {name!r} must be one of auto, off, bf16, fp16")
    if device.type == "cuda":
        return torch.bfloat16 if _gpu_has_bf16(device) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bf16() else None


def pick_workers(count: int) -> int:
    """`count`, or for -1 one process fewer than there are cores, but at least 1 and at most 8."""
    if count >= 0:
        return count
    return max(1, min(8, cores() - 1))
