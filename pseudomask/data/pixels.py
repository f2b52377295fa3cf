"""Turn decoded photos into network input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic with antialiasing: uint8 (H, W, 3) → uint8 (*size, 3).

    torch's kernel takes a fifth of the time of Pillow's; a few pixels in a thousand differ by a level or two.
    """
    if image.shape[:2] == size:
        return image
    image = np.require(image, requirements=["C", "W"])  # torch needs it so; copied only if necessary
    pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2)  # (1, 3, H, W), channels-last in memory
    found: np.ndarray = F.interpolate(pixels, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()
    return found


def resize_together(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """`resize` for photos on any device: uint8 (B, H, W, 3) → uint8 (B, *size, 3).

    CUDA's kernel computes in float32 only. Rounded between columns and rows too, as the CPU's kernel does, 96 % of the
    values are the same, the others a level apart, and one in ten thousand two.
    """
    if pixels.shape[1:3] == size:
        return pixels
    x = pixels.permute(0, 3, 1, 2).float().contiguous()
    for part in ((pixels.shape[1], size[1]), size):
        x = F.interpolate(x, part, mode="bicubic", antialias=True).add_(0.5).floor_().clamp_(0, 255)
    return x.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def with_long_side(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(H, W) scaled so that the longer side is `long_side`; both sides are at least 1."""
    factor = long_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel, for values in [0, 1], as the network's weights expect them."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @cached_property
    def mean_level(self) -> np.ndarray:
        """(3,) uint8, the level nearest to the mean colour: within 0.01 of 0 after normalisation."""
        return np.round(255 * np.array(self.mean, np.float32)).astype(np.uint8)

    @cached_property
    def _levels(self) -> np.ndarray:
        """(1, 256, 3) float32: the normalised value of each level of a channel."""
        return self._computed(np.arange(256, dtype=np.float32)[:, None])[None]

    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift, float32 (3,): x · scale + shift for x in [0, 255]."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return 1 / (255 * std), -mean / std

    def _computed(self, values: np.ndarray) -> np.ndarray:
        scale, shift = self._affine()
        found: np.ndarray = values * scale + shift
        return found

    def normalise(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) in [0, 255] → float32 (3, H, W), laid out channels-last.

        uint8 levels are looked up in a table, which gives the same bits in a sixth of the time.
        """
        if image.dtype == np.uint8:
            return cv2.LUT(image, self._levels).transpose(2, 0, 1)
        return self._computed(image).transpose(2, 0, 1)

    def to_input(self, pixels: Tensor, dtype: torch.dtype | None = None, ways: Sequence[bool] = (False,)) -> Tensor:
        """The photos, normalised, once for each of `ways`; mirrored where it is True.

        Args:
            pixels: uint8 (B, h, w, 3).
            dtype: of the result; None is float32.

        Returns:
            (len(ways)·B, 3, h, w), channels-last in memory.
        """
        how = self._input_looked_up if pixels.device.type == "cpu" else self._input_computed
        return how(pixels, dtype or torch.float32, ways)

    def _input_computed(self, pixels: Tensor, dtype: torch.dtype, ways: Sequence[bool]) -> Tensor:
        scale, shift = _affine_on(self, pixels.device)
        x = torch.addcmul(shift, pixels.float(), scale).to(dtype).permute(0, 3, 1, 2)
        return torch.cat([x.flip(-1) if mirrored else x for mirrored in ways])

    def _input_looked_up(self, pixels: Tensor, dtype: torch.dtype, ways: Sequence[bool]) -> Tensor:
        """Normalise with a table of the 256 levels in `dtype`, which is five times faster."""
        bits = torch.int16 if dtype.itemsize == 2 else torch.float32
        table = torch.from_numpy(self._levels).to(dtype).view(bits).numpy()
        out = torch.empty((len(ways) * len(pixels), *pixels.shape[1:]), dtype=bits)
        photos = [photo.numpy() for photo in pixels]
        views = [cv2.flip(photo, 1) if mirrored else photo for mirrored in ways for photo in photos]
        for view, place in zip(views, out.numpy(), strict=True):
            cv2.LUT(view, table, dst=place)
        return out.view(dtype).permute(0, 3, 1, 2)


@cache
def _affine_on(normalisation: Normalisation, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift on a GPU, sent there once: each time, it would first have to finish what it is at."""
    with torch.inference_mode(False):  # else a training could not use what an extraction has sent
        scale, shift = (torch.from_numpy(one).to(device) for one in normalisation._affine())
    return scale, shift


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
