"""From decoded photos to a network's input."""

from __future__ import annotations

import numpy as np

from pseudomask.data.pixels import IMAGENET


def test_levels_are_looked_up_as_they_would_be_computed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    found = IMAGENET.normalise(image)
    assert (found.dtype, found.shape) == (np.float32, (3, 7, 9))
    assert np.array_equal(found, IMAGENET.normalise(image.astype(np.float32)))
    wanted = (image.astype(np.float64) / 255 - IMAGENET.mean) / IMAGENET.std
    assert np.abs(found.transpose(1, 2, 0) - wanted).max() < 1e-5
    assert np.array_equal(IMAGENET.normalise(image[:, ::-1]), found[:, :, ::-1]), "rows may run backwards"
