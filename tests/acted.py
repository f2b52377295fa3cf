"""A GPU that is acted: CPU tensors that were sent there, or made there, are told from all others.

Nothing is computed elsewhere. But whoever mixes tensors of both kinds, or reads one as NumPy before it has come back,
gets the error that a real GPU gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def there(tensor: Any) -> bool:
    return getattr(tensor, "acted", False)


def send(found: Any) -> Any:
    """Mark all tensors in a result."""
    if isinstance(found, Tensor):
        found.acted = True  # type: ignore[attr-defined]
    elif isinstance(found, tuple | list):
        for one in found:
            send(one)
    elif isinstance(found, Iterator):
        return iter([send(one) for one in found])
    return found


def tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    return [one for value in values for one in tensors(value)] if isinstance(values, tuple | list) else []


def is_cuda(value: Any) -> bool:
    return (isinstance(value, str) and value.startswith("cuda")) or (
        isinstance(value, torch.device) and value.type == "cuda"
    )


class ActedGpu(TorchFunctionMode):
    """While it is on, `cuda` can be asked for; `count` is the number of computations on it."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.device:  # a name, not yet a computation
            return func(*args, **kwargs)
        name, given = getattr(func, "__name__", ""), tensors([*args, *kwargs.values()])
        acted = any(there(one) for one in given)
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return CUDA if acted else func(*args)
        if func in (Tensor.numpy, Tensor.__array__) and acted:
            raise TypeError("can't convert cuda device type tensor to numpy")
        asked = any(is_cuda(one) for one in (*args, kwargs.get("device")))
        home = func is Tensor.cpu or (func is Tensor.to and any(one in ("cpu", CPU) for one in args[1:]))
        if func is not Tensor.to and acted and not all(there(one) or one.dim() == 0 for one in given):
            raise RuntimeError(f"Expected all tensors to be on the same device: {name}")
        args = tuple(CPU if is_cuda(one) else one for one in args)
        kwargs = {key: CPU if is_cuda(one) else one for key, one in kwargs.items()}
        found = func(*args, **kwargs)
        if home or (asked and func is Tensor.to):
            found = found.clone()  # `to` gives the same tensor back where nothing is to be done
        if home or not (acted or asked):
            return found
        self.count += 1
        return send(found)
