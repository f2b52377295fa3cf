"""From decoded photos to a network's input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from pseudomask.data.pixels import IMAGENET, resize, resize_together


def test_levels_are_looked_up_as_they_would_be_computed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    found = IMAGENET.normalise(image)
    assert (found.dtype, found.shape) == (np.float32, (3, 7, 9))
    assert np.array_equal(found, IMAGENET.normalise(image.astype(np.float32)))
    wanted = (image.astype(np.float64) / 255 - IMAGENET.mean) / IMAGENET.std
    assert np.abs(found.transpose(1, 2, 0) - wanted).max() < 1e-5
    assert np.array_equal(IMAGENET.normalise(image[:, ::-1]), found[:, :, ::-1]), "rows may run backwards"


@pytest.mark.parametrize("scale", [0.37, 0.5, 1.0, 1.5, 2.0])
def test_a_device_resizes_as_the_processor_does(scale: float) -> None:
    """Photo-like, and with the hardest edges that there are; the processor's kernel computes in whole numbers."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 61, 83, 3), dtype=np.uint8)
    smooth, hard = cv2.GaussianBlur(noise[0], (5, 5), 0), 255 * (noise[1] > 127).astype(np.uint8)
    size = round(61 * scale), round(83 * scale)
    found = resize_together(torch.from_numpy(np.stack([smooth, hard])), size).numpy()
    apart = np.abs(found.astype(int) - np.stack([resize(one, size) for one in (smooth, hard)]))
    assert found.shape == (2, *size, 3)
    assert apart.max() <= 2
    assert (apart > 0).mean() < 0.04
    assert (apart > 1).mean() < 2e-4
