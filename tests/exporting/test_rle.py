"""R24: run-length codes and polygons give back the masks they were made of."""

from __future__ import annotations

import json
from collections.abc import Iterator

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from pseudomask.data.run_lengths import encode
from pseudomask.exporting.polygons import outline


def regions(count: int = 1000) -> Iterator[np.ndarray]:
    """Noise and blobs of all densities and sizes, bool (H, W); the first are empty and full."""
    rng = np.random.default_rng(24)
    for number in range(count):
        size = tuple(rng.integers(1, 60, 2).tolist())
        noise = rng.random(size, np.float32)
        if number % 2:
            noise = cv2.GaussianBlur(noise, (0, 0), 2.0).reshape(size) + rng.uniform(-0.1, 0.1)
        yield noise > {0: 2.0, 2: -1.0}.get(number, 0.5 if number % 2 else rng.random())


def test_r24_a_thousand_masks_come_back() -> None:
    filled = []
    for region in regions():
        code = encode(region)
        assert json.loads(json.dumps(code)) == code
        assert (coco_mask.decode(code) == region).all()
        filled.append(region.mean())
    assert 0 in filled[:1]
    assert filled[2] == 1


def test_long_runs_and_large_sides() -> None:
    region = np.zeros((3000, 2000), bool)
    region[2999, 1999] = True
    assert (coco_mask.decode(encode(region)) == region).all()


def test_filled_polygons_give_the_region_back() -> None:
    """All but parts that are a point or a line, and those are counted."""
    holes = 0
    for region in regions(300):
        found = outline(region)
        filled = np.zeros(region.shape, np.uint8)
        for part in found.parts:
            cv2.fillPoly(filled, [part.astype(np.int32)], 1)
        assert not (filled > region).any()
        assert int((region & (filled == 0)).sum()) == found.thin
        holes += found.holes
    assert holes > 300


def test_a_ring_is_one_polygon_of_few_corners() -> None:
    region = np.zeros((40, 50), bool)
    region[5:35, 10:40] = True
    region[15:20, 20:30] = False
    found = outline(region)
    assert (len(found.parts), found.holes, found.thin) == (1, 1, 0)
    assert len(found.parts[0]) <= 16
