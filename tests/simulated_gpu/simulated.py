"""Tensors that say `cuda:0` and compute on the CPU: whole verbs run as on a GPU, where there is none.

Real are the device of every tensor, CUDA's dispatch, autograd and autocast keys, branches on the device, and when a
copy that does not block has arrived. Found are operands on two devices, device tensors read as NumPy, operators without
a kernel for CUDA, devices that do not exist, misuse of pinned memory, and float16 that overflows; counted are
synchronisations and copies, by line of pseudomask. Not simulated are the types that a kernel takes, memory, cuDNN,
NCCL and speed.

Import this before pseudomask, in a process started with `gpu_stubs.environment`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import gpu_stubs
import torch
from gpu_stubs import where
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

assert "pseudomask" not in sys.modules, "it decorates functions with inference_mode, which must be this one"
# Tensors of inference mode have no version counter, without which views of a subclass cannot be made.
torch.inference_mode = lambda mode=True: torch.no_grad()  # type: ignore[misc, assignment]

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
_COPIES = {"aten::_to_copy", "aten::copy_"}
_MIXES = _COPIES | {"aten::set_", "aten::_pin_memory"}
_SYNCHRONISE = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero"}


class Misuse(RuntimeError):
    """What a GPU refuses, or what silently goes wrong on one."""


@dataclass
class Log:
    """What happened on the device: places in pseudomask (`file:line`) and how often."""

    launches: int = 0
    syncs: Counter[str] = field(default_factory=Counter)  # this thread, which feeds the device, waited for it
    waits: Counter[str] = field(default_factory=Counter)  # another thread did
    copies: Counter[str] = field(default_factory=Counter)  # from the host
    pageable: Counter[str] = field(default_factory=Counter)  # of those, meant not to block, but not pinned
    overflows: Counter[str] = field(default_factory=Counter)
    fused: Counter[str] = field(default_factory=Counter)  # convolutions of cuDNN with shortcut or ReLU
    no_kernel: set[str] = field(default_factory=set)


LOG = Log()


def reset() -> None:
    LOG.__init__()  # type: ignore[misc]
    _UNDER_WAY.clear()


class OnDevice(Tensor):
    """A tensor on `cuda:0` whose numbers are those of `held`, on the CPU."""

    held: Tensor  # of a sparse matrix the size alone is told: what is done with it is done with `held`
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        layout: dict[str, Any] = {}
        if held.layout is torch.strided:
            layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, device=CUDA, **layout)

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __deepcopy__(self, memo: Any) -> Any:
        made = OnDevice(self.held.clone()).requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            made._is_param = True
        return made

    def record_stream(self, stream: Any) -> None:
        """There is no memory that another stream could be given."""

    def tolist(self) -> Any:
        _synchronise()
        return self.held.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.held!r})"

    def __format__(self, spec: str) -> str:
        return format(self.held, spec)


# ---- what is under way: copies that do not block ----


@dataclass(eq=False)
class _Copy:
    """A copy whose end nobody has waited for: `source` must not change meanwhile, nor `target` be read."""

    place: str
    source: Tensor
    as_it_was: Tensor
    target: Tensor | None = None  # on the host; full of nonsense until the copy has ended

    def end(self) -> None:
        if self.target is not None:
            self.target.copy_(self.as_it_was)
        elif not torch.equal(_bits(self.source), _bits(self.as_it_was)):
            raise Misuse(f"pinned memory was written to while its copy to the device ran: {self.place}")


_UNDER_WAY: list[_Copy] = []
_ENDING = threading.Lock()
_PINNED: set[int] = set()  # addresses of storages; never freed, so that none is given to another


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.uint8) if tensor.dim() else tensor[None].view(torch.uint8)


def _wait(copies: list[_Copy]) -> None:
    with _outside(), _ENDING:  # who waits for a copy that another thread ends goes on after its end
        for one in copies:
            if one in _UNDER_WAY:
                _UNDER_WAY.remove(one)
                one.end()


def _synchronise(copies: list[_Copy] | None = None) -> None:
    main = threading.current_thread() is threading.main_thread()
    (LOG.syncs if main else LOG.waits)[where()] += 1
    _wait(list(_UNDER_WAY) if copies is None else copies)


class _Event:
    def __init__(self, *_: Any, **__: Any) -> None:
        self.copies: list[_Copy] = []

    def record(self, stream: Any = None) -> None:
        self.copies = list(_UNDER_WAY)

    def synchronize(self) -> None:
        _synchronise(self.copies)

    def query(self) -> bool:
        return not any(one in _UNDER_WAY for one in self.copies)


class Stream:
    """What waits for one waits for everything."""

    def __init__(self, device: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        _synchronise()

    def wait_stream(self, other: Stream) -> None:
        pass


NETWORK = Stream()
_KEPT: list[Tensor] = []


def _pin(tensor: Tensor) -> Tensor:
    if isinstance(tensor, OnDevice):
        raise Misuse("cannot pin 'torch.cuda.Tensor': only dense CPU tensors can be pinned")
    with _outside():
        made = tensor.clone()
    _KEPT.append(made)
    _PINNED.add(made.untyped_storage().data_ptr())
    return made


def _pinned(tensor: Tensor) -> bool:
    return tensor.untyped_storage().data_ptr() in _PINNED


# ---- operators ----


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    name = func._schema.name
    leaves = tree_leaves((args, kwargs))
    ours = [one for one in leaves if isinstance(one, OnDevice)]
    wanted = kwargs.get("device")
    if wanted is not None and torch.device(wanted).type == "cuda" and (torch.device(wanted).index or 0) > 0:
        raise Misuse(f"CUDA error: invalid device ordinal ({wanted} at {where()})")
    to_device = bool(ours) if wanted is None else torch.device(wanted).type == "cuda"
    if wanted is not None:
        kwargs = {**kwargs, "device": CPU}
    late = bool(kwargs.pop("non_blocking", False)) or (name == "aten::copy_" and len(args) > 2 and bool(args[2]))
    pin = bool(kwargs.pop("pin_memory", False))
    if ours:
        _check(func, name, leaves, args)
    plain = tree_map(lambda x: x.held if isinstance(x, OnDevice) else x, (args, kwargs))
    func = _CUDNN.get(name, func) if ours else func
    if name in _COPIES:
        return _copied(func, name, args, plain, to_device, late, pin)
    if (name in _SYNCHRONISE and ours) or _by_truth(name, args):
        _synchronise()
    out = func(*plain[0], **plain[1])
    if not to_device:
        if pin:
            for one in tree_leaves(out):
                _KEPT.append(one)
                _PINNED.add(one.untyped_storage().data_ptr())
        return out
    LOG.launches += 1
    _look_for_overflow(leaves, out)
    _refuse_float64(out)
    same = {id(one.held): one for one in ours}
    return tree_map(lambda x: (same[id(x)] if id(x) in same else OnDevice(x)) if isinstance(x, Tensor) else x, out)


def _copied(func: Any, name: str, args: Any, plain: Any, to_device: bool, late: bool, pin: bool) -> Any:
    """A cast or a transfer; the result of a transfer is always a copy."""
    target, source = (args[0], args[1]) if name == "aten::copy_" else (None, args[0])
    comes, goes = isinstance(source, OnDevice), to_device if target is None else isinstance(target, OnDevice)
    out = func(*plain[0], **plain[1])
    if comes and not goes:
        if late:
            LOG.copies[where()] += 0
            result = out if target is None else target
            _UNDER_WAY.append(_Copy(where(), source.held, result.clone(), result))
            result.view(torch.uint8).fill_(0xFF) if result.dim() else result.fill_(-1)
        else:
            _synchronise()
    elif goes and not comes and source.dim() > 0:
        LOG.copies[where()] += 1
        if late and _pinned(source):
            _UNDER_WAY.append(_Copy(where(), source, source.clone()))
        elif late:
            LOG.pageable[where()] += 1
        else:
            _synchronise()
    if target is not None:
        return target
    if goes:
        _look_for_overflow([source], out)
        _refuse_float64(out)
        return OnDevice(out)
    return out


def _batch_norm(x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: Any, momentum: Any, eps: Any) -> Any:
    made = torch.ops.aten.native_batch_norm(x, weight, bias, mean, var, training, momentum, eps)
    return (*made, torch.empty(0, dtype=torch.uint8))


def _batch_norm_back(x: Any, grad: Any, weight: Any, mean: Any, var: Any, m: Any, s: Any, eps: Any, *_: Any) -> Any:
    return torch.ops.aten.native_batch_norm_backward(grad, x, weight, mean, var, m, s, True, eps, [True] * 3)


def _conv_relu(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    LOG.fused[where()] += 1
    return torch.conv2d(x, weight, bias, stride, padding, dilation, groups).relu_()


def _conv_add_relu(x: Any, weight: Any, z: Any, alpha: Any, bias: Any, *how: Any) -> Any:
    LOG.fused[where()] += 1
    return torch.conv2d(x, weight, bias, *how).add_(z, alpha=alpha).relu_()


_CUDNN = {  # operators that only a GPU has
    "aten::cudnn_batch_norm": _batch_norm,  # what it is given in float32 and float16
    "aten::cudnn_batch_norm_backward": _batch_norm_back,
    "aten::cudnn_convolution_relu": _conv_relu,
    "aten::cudnn_convolution_add_relu": _conv_add_relu,
}


def _by_truth(name: str, args: Any) -> bool:
    """Whether it indexes with a mask, whose number of ones the host has to wait for."""
    if not name.startswith("aten::index") or len(args) < 2 or not isinstance(args[1], list | tuple):
        return False
    return any(isinstance(one, OnDevice) and one.dtype is torch.bool for one in args[1])


def _check(func: Any, name: str, leaves: list[Any], args: Any) -> None:
    if name not in _MIXES:
        for one in leaves:
            if isinstance(one, Tensor) and not isinstance(one, OnDevice) and one.dim() > 0:
                if name.startswith("aten::index") and one is not args[0] and not one.dtype.is_floating_point:
                    LOG.copies[where()] += 1  # an index on the host is allowed, and copied
                    continue
                raise Misuse(f"Expected all tensors to be on the same device: {name} at {where()}")
    overload = func._overloadname
    full = name if overload in ("default", "") else f"{name}.{overload}"
    sparse = any(one.held.layout is not torch.strided for one in leaves if isinstance(one, OnDevice))
    key = "SparseCsrCUDA" if sparse else "CUDA"
    try:
        there = torch._C._dispatch_has_computed_kernel_for_dispatch_key(full, key)
    except RuntimeError:
        return
    if not there:
        LOG.no_kernel.add(f"{full} ({key}) at {where()}")


def _look_for_overflow(given: list[Any], made: Any) -> None:
    """float16 that ends where its operands did not: beyond 65,504, or a number that is none."""
    found = [one for one in tree_leaves(made) if isinstance(one, Tensor) and one.dtype is torch.float16]
    if not found or all(bool(one.isfinite().all()) for one in found):
        return
    held = (one.held if isinstance(one, OnDevice) else one for one in given if isinstance(one, Tensor))
    if all(bool(one.isfinite().all()) for one in held if one.is_floating_point()):
        LOG.overflows[where()] += 1


_NO_FLOAT64 = threading.Event()


def _refuse_float64(made: Any) -> None:
    if _NO_FLOAT64.is_set() and any(getattr(one, "dtype", None) is torch.float64 for one in tree_leaves(made)):
        raise Misuse(f"this device has no float64, at {where()}")


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Calls that reach the driver before the dispatcher does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu").type == "cuda":
            return torch.tensor(*args, **{**kwargs, "device": CPU}).to(kwargs["device"])
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnDevice):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(CUDA)
        if func is torch.Tensor.__getitem__ and isinstance(args[0], OnDevice) and isinstance(args[1], list):
            return args[0][torch.tensor(args[1])]
        if func is torch.sparse_csr_tensor and any(isinstance(one, OnDevice) for one in args):
            LOG.launches += 1
            return OnDevice(torch.sparse_csr_tensor(*(getattr(one, "held", one) for one in args), **kwargs))
        if func is torch.Tensor.pin_memory:
            return _pin(args[0])
        if func is torch.Tensor.is_pinned:
            return _pinned(args[0])
        if func is torch.Tensor.cuda:
            return args[0].to(torch.device("cuda", kwargs.get("device", args[1] if len(args) > 1 else 0) or 0))
        return func(*args, **kwargs)


_outside = torch.utils._python_dispatch._disable_current_modes


@contextmanager
def simulated_gpu(*, bf16: bool = True, float64: bool = True) -> Iterator[Log]:
    """Within the block, in threads started in it too, this machine has one CUDA device.

    Args:
        bf16: whether it computes in bfloat16; T4 and V100 do not.
        float64: whether it knows float64; Apple's GPUs do not.
    """
    set_devices = gpu_stubs.load()
    torch._C._ensureCUDADeviceGuardSet()
    backward, run, loader = Tensor.backward, threading.Thread.run, torch.utils.data.DataLoader.__init__

    def counted(self: Tensor, *args: Any, **kwargs: Any) -> None:
        set_devices(127)
        try:
            with torch.autograd.set_multithreading_enabled(False):
                backward(self, *args, **kwargs)
        finally:
            set_devices(0)

    def within(self: threading.Thread) -> None:
        with _Functions(), _Dispatch():
            run(self)

    def unpinned(self: Any, *args: Any, **kwargs: Any) -> None:
        loader(self, *args, **kwargs | {"pin_memory": False})

    cuda = torch.cuda
    changes: list[tuple[Any, str, Any]] = [
        (cuda, "_lazy_init", lambda: None),
        (cuda, "is_available", lambda: True),
        (cuda, "is_initialized", lambda: True),
        (cuda, "device_count", lambda: 1),
        (cuda, "is_bf16_supported", lambda *_, **__: bf16),
        (cuda, "get_device_capability", lambda device=None: (8, 0) if bf16 else (7, 5)),
        (cuda, "manual_seed_all", lambda seed: None),
        (cuda, "empty_cache", lambda: None),
        (cuda, "set_device", lambda device: None),
        (cuda, "device", lambda device: nullcontext()),
        (cuda, "synchronize", lambda device=None: _synchronise()),
        (cuda, "current_stream", lambda device=None: NETWORK),
        (cuda, "Event", _Event),
        (cuda.amp.common, "amp_definitely_not_available", lambda: False),
        (Tensor, "backward", counted),
        (threading.Thread, "run", within),
        (torch.utils.data.DataLoader, "__init__", unpinned),
    ]
    torch.__future__.set_swap_module_params_on_conversion(True)  # `parameter.data = …` would keep the old class
    reset()
    if not float64:
        _NO_FLOAT64.set()
    try:
        with ExitStack() as stack:
            for place, name, value in changes:
                stack.enter_context(patch.object(place, name, value))
            stack.enter_context(_Functions())
            stack.enter_context(_Dispatch())
            yield LOG
    finally:
        _NO_FLOAT64.clear()
        torch.__future__.set_swap_module_params_on_conversion(False)


assert gpu_stubs.FOLDER in os.environ, "start this process with gpu_stubs.environment"
