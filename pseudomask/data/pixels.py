"""From decoded photos to a network's input."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional as F

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def _normal(values: np.ndarray) -> np.ndarray:
    return values * (1 / (255 * STD)) - MEAN / STD


LEVELS = _normal(np.arange(256, dtype=np.float32)[:, None])[None]
"""(1, 256, 3) float32: what each level of a channel becomes."""


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic, antialiased: uint8 (H, W, 3) → uint8 (*size, 3).

    torch's kernel: Pillow's filter in a fifth of its time. A few pixels in a thousand differ by a level or two.
    """
    if image.shape[:2] == size:
        return image
    image = np.require(image, requirements=["C", "W"])  # as torch wants it; a copy only where it is not
    pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2)  # (1, 3, H, W), channels-last in memory
    found: np.ndarray = F.interpolate(pixels, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()
    return found


def with_long_side(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(H, W) scaled so that its longer side is `long_side`; neither side falls below 1."""
    factor = long_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def normalise(image: np.ndarray) -> np.ndarray:
    """ImageNet's mean and deviation: (H, W, 3) in [0, 255] → float32 (3, H, W), laid out channels-last.

    The levels of uint8 are looked up, which takes a sixth of the time of computing them, and gives the same bits.
    """
    if image.dtype == np.uint8:
        return cv2.LUT(image, LEVELS).transpose(2, 0, 1)
    return _normal(image).transpose(2, 0, 1)
