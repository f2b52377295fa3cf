"""The strip at the top of the README: photo, score of the photo's main class, mask.

    python examples/picture.py demo-out examples/photos docs/picture.jpg

The first argument is a folder that `pseudomask extract` wrote with scores.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pseudomask.data.decoding import decode
from pseudomask.masks import load_mask, overlay
from pseudomask.scores import load_scores

KEYS = ("cat_tabby", "dog_retriever", "person_astronaut")
TILE, GAP, TITLE = 300, 8, 26  # pixels
MOST_BYTES = 200_000


def heat(photo: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The photo in grey under its scores: uint8 (H, W, 3), scores float32 (H, W) in [0, 1]."""
    colours = cv2.applyColorMap(np.rint(scores * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[:, :, ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(np.ascontiguousarray(colours), 0.6, grey, 0.4, 0)


def tile(picture: np.ndarray, title: str) -> Image.Image:
    """The picture's central square with a title above it."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = cv2.resize(picture[top : top + side, left : left + side], (TILE, TILE), interpolation=cv2.INTER_AREA)
    out = Image.new("RGB", (TILE, TILE + TITLE), "white")
    out.paste(Image.fromarray(square), (0, TITLE))
    font = ImageFont.load_default(15)
    ImageDraw.Draw(out).text((TILE // 2, TITLE // 2), title, font=font, fill="black", anchor="mm")
    return out


def row(out: Path, photos: Path, key: str, names: list[str]) -> list[Image.Image]:
    """Photo, heat map and mask of one image."""
    found = sorted(photos.glob(f"{key}.*"))
    if not found:
        raise SystemExit(f"error: no photo {key} in {photos}")
    photo = decode(found[0])
    mask = load_mask(out / f"{key}.png")
    scores = load_scores(out / "scores" / f"{key}.npz")
    if not scores.classes:
        raise SystemExit(f"error: {key} has no class in {out}")
    areas = [int((mask == index).sum()) for index in scores.classes]
    main = int(np.argmax(areas))
    name = names[scores.classes[main] - 1]
    return [
        tile(photo, "photo"),
        tile(heat(photo, scores.upsample()[main]), f"score of “{name}”"),
        tile(overlay(photo, mask), "mask"),
    ]


def strip(rows: list[list[Image.Image]]) -> Image.Image:
    """All tiles in one picture."""
    width = max(len(one) for one in rows) * (TILE + GAP) - GAP
    picture = Image.new("RGB", (width, len(rows) * (TILE + TITLE + GAP) - GAP), "white")
    for y, tiles in enumerate(rows):
        for x, one in enumerate(tiles):
            picture.paste(one, (x * (TILE + GAP), y * (TILE + TITLE + GAP)))
    return picture


def jpeg(picture: Image.Image) -> bytes:
    """The best JPEG of at most `MOST_BYTES`."""
    for quality in range(92, 30, -4):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality, optimize=True)
        if stream.tell() <= MOST_BYTES:
            return stream.getvalue()
    raise SystemExit(f"error: the picture does not fit in {MOST_BYTES} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder that extract wrote")
    parser.add_argument("photos", type=Path)
    parser.add_argument("picture", type=Path, help="JPEG to write")
    parser.add_argument("--keys", nargs="+", default=KEYS, help="photos to show, a row each")
    options = parser.parse_args()
    names = json.loads((options.out / "run.json").read_text("utf-8"))["classes"]
    rows = [row(options.out, options.photos, key, names) for key in options.keys]
    options.picture.write_bytes(jpeg(strip(rows)))


if __name__ == "__main__":
    main()
