"""Masks of twelve photos, as `extract` once made them by default and as it makes them now, in one picture.

    python -m benchmarks.before_after DATA docs/before-after.jpg

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`). The photos are every 19th of val, so nobody chose them. Each
is shown as it is, with the mask of `--method recam --tta balanced --refine none`, and with that of today's defaults.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.quality import photos, run
from pseudomask.config.quality import USUAL
from pseudomask.data.decoding import decode
from pseudomask.masks import load_mask, overlay
from pseudomask.running.atomic import atomic_write

EVERY, PHOTOS, COLUMNS = 19, 12, 3
HEIGHT, GAP = 128, 6  # pixels
WIDTH = HEIGHT * 4 // 3
MOST_BYTES = 250_000
ROWS = ("recam:none:balanced", USUAL)


def tile(picture: np.ndarray) -> np.ndarray:
    """The picture on a white tile, uint8 (HEIGHT, WIDTH, 3)."""
    scale = min(HEIGHT / picture.shape[0], WIDTH / picture.shape[1])
    h, w = (round(side * scale) for side in picture.shape[:2])
    out = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    top, left = (HEIGHT - h) // 2, (WIDTH - w) // 2
    out[top : top + h, left : left + w] = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    return out


def sheet(groups: list[list[np.ndarray]], columns: int = COLUMNS) -> np.ndarray:
    """Tiles of a group side by side, `columns` groups a line."""
    wide = [np.pad(np.concatenate(one, 1), ((0, GAP), (0, 2 * GAP), (0, 0)), constant_values=255) for one in groups]
    lines = [np.concatenate(wide[i : i + columns], 1) for i in range(0, len(wide), columns)]
    return np.concatenate(lines)[:-GAP, : -2 * GAP]


def jpeg(picture: np.ndarray) -> bytes:
    """The best JPEG of at most `MOST_BYTES`."""
    for quality in range(92, 30, -4):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", quality=quality, optimize=True)
        if stream.tell() <= MOST_BYTES:
            break
    return stream.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", help="as of `pseudomask extract`; default: the bundled VOC weights")
    parser.add_argument("--affinity", type=Path, help="a boundary head; default: the bundled one")
    options = parser.parse_args()
    keys = photos(options.data, "val", EVERY)[:PHOTOS]
    with tempfile.TemporaryDirectory() as place:
        for i, row in enumerate(ROWS):
            run(keys, row, Path(place) / str(i), options)
        groups = []
        for key in keys:
            photo = decode(options.data / "JPEGImages" / f"{key}.jpg")
            masks = [load_mask(Path(place) / str(i) / f"{key}.png") for i in range(len(ROWS))]
            groups.append([tile(photo), *(tile(overlay(photo, mask)) for mask in masks)])
    with atomic_write(options.out) as file:
        file.write(jpeg(sheet(groups)))
    print(f"{options.out}: {', '.join(keys)}")


if __name__ == "__main__":
    main()
