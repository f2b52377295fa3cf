"""Tensors to a GPU and back without a wait: it computes one batch while the host prepares the next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; to a GPU it travels while this thread goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # without pinned memory the copy would wait


def send_together(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """Tensors of one shape, stacked, on `device`, where some may be already."""
    if device.type != "cuda":
        return torch.stack(list(tensors)).to(device)
    if any(one.device.type == "cuda" for one in tensors):
        return torch.stack([one if one.device.type == "cuda" else send(one, device) for one in tensors])
    # torch gives pinned memory to nobody else before the copy from it has ended
    batch = torch.empty((len(tensors), *tensors[0].shape), dtype=tensors[0].dtype, pin_memory=True)
    torch.stack(list(tensors), out=batch)
    return batch.to(device, non_blocking=True)


class Fetched:
    """A tensor on its way to the CPU; `get` waits for it, in any thread."""

    def __init__(self, tensor: Tensor) -> None:
        self._arrival: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._tensor = tensor.to("cpu", non_blocking=True)
            self._arrival = torch.cuda.Event()
            self._arrival.record(torch.cuda.current_stream(tensor.device))
        else:
            self._tensor = tensor.cpu()

    def get(self) -> Tensor:
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._tensor
