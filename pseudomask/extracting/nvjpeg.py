"""NVIDIA's JPEG decoder, through torchvision: whether it is there, and finds what Pillow finds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pseudomask.devices import make_current
from pseudomask.errors import UsageError
from pseudomask.running.halving import OUT_OF_MEMORY, memory_errors
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter

MOST_MEAN, MOST_FAR, FAR = 2.0, 0.01, 8
"""How far its pixels may be from Pillow's: levels of 255 on average, and the share that is more than `FAR` levels away.

Colours of half the size enlarged without smoothing, and a coarser cosine transform, make 1.6 and 0.0002 of the samples;
a shift by a pixel, another matrix of colours or 3 levels more make over 2.9 (docs/gpu.md).
"""

_SAMPLES = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2, "grey": None}


def decode_jpegs(files: Sequence[bytes], device: torch.device) -> list[Tensor]:
    """RGB of JPEG files on a GPU, uint8 (3, H, W) each, when they are decoded.

    Raises RuntimeError where one cannot be decoded, which loses all, and `OUT_OF_MEMORY`.
    """
    from torchvision.io import ImageReadMode, decode_jpeg

    with memory_errors():
        encoded = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in files]
        return list(decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device))


class Decoder:
    """`decode_jpegs` beside a network on the same GPU.

    torchvision decodes in a CUDA stream of its own, into memory that the current stream gave, and does not wait until
    what was queued there before has let go of it. So that memory is a third stream's, which computes nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)

    def __call__(self, files: Sequence[bytes]) -> list[Tensor]:
        network = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.stream):
            found = decode_jpegs(files, self.device)
        network.wait_stream(self.stream)
        for one in found:
            one.record_stream(network)
        return found


def pick_decoding(name: str, device: torch.device, reporter: Reporter) -> Literal["cpu", "gpu"]:
    """Where photos are decoded: what `--decode` says, or for `auto` the GPU if it decodes as Pillow does.

    All processes of a torchrun decode alike. Raises `UsageError` for a GPU that is none or cannot.
    """
    if name == "cpu" or (name == "auto" and device.type != "cuda"):
        return "cpu"
    if device.type != "cuda":
        raise UsageError(f"--decode gpu needs an NVIDIA GPU, and --device is {device}; use --decode cpu or auto")
    make_current(device)
    problem = next(filter(None, (one.decode() for one in ranks().gather(problem_with(device).encode()))), "")
    if not problem:
        return "gpu"
    if name == "gpu":
        raise UsageError(f"--decode gpu: {problem}; use --decode cpu or auto")
    reporter.info(f"photos are decoded on the CPU: {problem}")
    return "cpu"


def decoding(settled: str) -> str:
    """In words beside the device, where it decodes photos."""
    return ", decodes JPEG photos" if settled == "gpu" else ""


def problem_with(device: torch.device) -> str:
    """Why photos cannot be decoded there; empty where samples of each kind look as Pillow shows them."""
    samples = {name: sample(sampling) for name, sampling in _SAMPLES.items()}
    try:
        found = [one.cpu() for one in Decoder(device)(list(samples.values()))]
    except OUT_OF_MEMORY:
        return "no memory is left to try nvJPEG"
    except (RuntimeError, ImportError, AttributeError, NotImplementedError, TypeError) as error:
        return f"nvJPEG cannot be used ({str(error).partition(chr(10))[0][:120]})"
    for (name, file), planes in zip(samples.items(), found, strict=True):
        if unlike := difference(planes.permute(1, 2, 0).numpy(), _by_pillow(file)):
            return f"nvJPEG's pixels of a {name} sample are {unlike} Pillow's"
    return ""


def difference(found: np.ndarray, wanted: np.ndarray) -> str:
    """How far pixels (H, W, 3) are from others, in words; empty if that is tolerated."""
    if found.shape != wanted.shape:
        return f"{found.shape}, not {wanted.shape} as"
    apart = np.abs(found.astype(np.int16) - wanted)
    mean, far = float(apart.mean()), float((apart > FAR).mean())
    if mean <= MOST_MEAN and far <= MOST_FAR:
        return ""
    return f"{mean:.1f} levels on average and in {far:.1%} more than {FAR} from"


def sample(sampling: int | None) -> bytes:
    """A JPEG file whose light has hard edges and whose colours change slowly, as in photos; None: a grey one.

    `sampling` is Pillow's number. Its sides are no multiples of the blocks of a JPEG.
    """
    y, x = np.mgrid[:75, :110]
    light = 50 + 150 * ((x // 11 + y // 9) % 2)
    colours = np.stack([light + 45 * np.sin(x / 19 + y / 27 + turn) for turn in (0, 2, 4)], 2)
    image, file = Image.fromarray(colours.clip(0, 255).astype(np.uint8)), io.BytesIO()
    if sampling is None:
        image.convert("L").save(file, "JPEG", quality=90)
    else:
        image.save(file, "JPEG", quality=90, subsampling=sampling)
    return file.getvalue()


def _by_pillow(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
