"""nvJPEG, simulated by libjpeg, and what torchvision's call of it asks of streams.

Found are memory that the network's kernels may still be using, pixels read before they are there, and memory that is
given back while the network's stream may still read it.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import simulated
import torch
import torchvision
from PIL import Image
from torch import Tensor

Decode = Callable[[Sequence[bytes]], list[np.ndarray]]


def by_libjpeg(files: Sequence[bytes]) -> list[np.ndarray]:
    """uint8 (H, W, 3) each."""
    return [np.array(Image.open(io.BytesIO(one)).convert("RGB")) for one in files]


@dataclass
class Decodings:
    """How many photos a call had; what was found."""

    calls: list[int] = field(default_factory=list)
    in_feeding_thread: int = 0
    not_recorded: int = 0


class _Decoded(simulated.OnDevice):
    """Full of nonsense until a stream waits for that in which it was decoded."""

    pixels: Tensor
    stream: Any
    users: set[Any]

    def record_stream(self, stream: Any) -> None:
        self.users.add(stream)


@contextmanager
def simulated_nvjpeg(decode: Decode = by_libjpeg) -> Iterator[Decodings]:
    """Within the block, and within `simulated_gpu`, torchvision decodes JPEG files on the device."""
    told, made, here = Decodings(), list[_Decoded](), threading.local()

    class Stream(simulated.Stream):
        def wait_stream(self, other: Any) -> None:
            with simulated._outside():
                for one in made:
                    if one.stream is other:
                        one.held.copy_(one.pixels)

    network = Stream()

    def current(device: Any = None) -> Any:
        return getattr(here, "stream", network)

    @contextmanager
    def within(stream: Any) -> Iterator[None]:
        before, here.stream = current(), stream
        try:
            yield
        finally:
            here.stream = before

    def decode_jpeg(files: list[Tensor], mode: Any, device: Any) -> list[Tensor]:
        assert torch.device(device).type == "cuda"
        told.calls.append(len(files))
        told.in_feeding_thread += threading.current_thread() is threading.main_thread()
        if current() is network:
            raise simulated.Misuse("it decodes into memory that the network's kernels may still use")
        with simulated._outside():
            planes = [torch.from_numpy(one).permute(2, 0, 1).contiguous() for one in decode(list(map(_bytes, files)))]
            found = [_Decoded(torch.full_like(one, 0xFF)) for one in planes]
        for one, pixels in zip(found, planes, strict=True):
            one.pixels, one.stream, one.users = pixels, current(), set()
        made.extend(found)
        return list(found)

    with ExitStack() as stack:
        for place, name, value in (
            (torch.cuda, "Stream", Stream),
            (torch.cuda, "stream", within),
            (torch.cuda, "current_stream", current),
            (torchvision.io, "decode_jpeg", decode_jpeg),
        ):
            stack.enter_context(patch.object(place, name, value))
        yield told
    told.not_recorded = sum(network not in one.users for one in made)


def _bytes(file: Tensor) -> bytes:
    return file.numpy().tobytes()
