r"""A second look at small things: other sizes, an output stride of 8, and crops round what was found small.

    python -m benchmarks.second_look DATA [--every 4] [--rows default "sizes 1,2" "stride 8" zoom …] [--json FILE]

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`). Each row makes masks of every n-th train photo, tags given,
as `extract` does it by default, but for what it names: `sizes` those of the views (`--scales`), `stride` that of the
last stage, by weights that are a copy of the bundled ones. `zoom` cuts a square round each class that the default's
mask gives less than a ninth of the photo, with the class in its middle half, enlarges it to the photo's long side, tags
it with what the mask has there, and averages the class's scores in it with the first ones, before the walk. Val is not
looked at. Person's precision and recall are given beside its IoU; time is processor time, relative to the first row's,
with the default's within that of `zoom`.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.quality import photos, spent
from benchmarks.seeds import CLASSES
from pseudomask.maps.cpmc import Cpmc
from pseudomask.masks import load_mask, save_mask
from pseudomask.measuring.confusion import Confusion
from pseudomask.networks.checkpoint import read_card, read_tensors, write_tensors
from pseudomask.networks.edge_weights import bundled_head
from pseudomask.networks.store import find_weights
from pseudomask.refining.crf import Crf, CrfSettings
from pseudomask.refining.refiner import Refined
from pseudomask.refining.walk import Walk
from pseudomask.scores import ScoreMap, load_scores

ROWS = ("default", "sizes 1,2", "sizes 1,1.5,2", "sizes 1,1.5,2.5", "stride 8", "zoom")
SMALL = 1 / 9
"""Share of the photo below which a class is looked at again."""
AROUND = 2.0
"""Side of the crop, in long sides of the class's box."""
LEAST = 96
"""Pixels along the side of the smallest crop."""


def photo_of(data: Path, key: str) -> Path:
    return data / "JPEGImages" / f"{key}.jpg"


def read(photo: Path) -> np.ndarray:
    return np.asarray(Image.open(photo).convert("RGB"))


class Crop:
    """A square of a photo round one class: `box` (top, bottom, left, right), and the classes found there."""

    def __init__(self, mask: np.ndarray, wanted: int) -> None:
        rows, columns = ((mask == wanted).any(axis).nonzero()[0] for axis in (1, 0))
        side = max(LEAST, AROUND * max(np.ptp(rows) + 1, np.ptp(columns) + 1))
        self.box = (*self._span(rows, side, mask.shape[0]), *self._span(columns, side, mask.shape[1]))
        self.wanted, self.classes = wanted, [int(c) for c in np.unique(self.cut(mask)) if 0 < c < 255]

    @staticmethod
    def _span(inside: np.ndarray, side: float, limit: int) -> tuple[int, int]:
        width = min(limit, round(side))
        start = round((inside[0] + inside[-1] + 1 - width) / 2)
        start = min(max(0, start), limit - width)
        return start, start + width

    def cut(self, array: np.ndarray) -> np.ndarray:
        top, bottom, left, right = self.box
        return array[top:bottom, left:right]

    def write(self, photo: Path, to: Path) -> None:
        pixels = read(photo)
        part = self.cut(pixels)
        scale = max(pixels.shape[:2]) / max(part.shape[:2])
        size = round(scale * part.shape[1]), round(scale * part.shape[0])
        Image.fromarray(part).resize(size, Image.Resampling.BICUBIC).save(to)

    def join(self, planes: np.ndarray, scores: ScoreMap, seen: ScoreMap) -> None:
        """Average the class's scores in `planes`, (n, H, W) for the classes of `scores`, with those of the crop."""
        target = self.cut(planes[scores.classes.index(self.wanted)])
        plane = seen.upsample()[seen.classes.index(self.wanted)]
        target += cv2.resize(plane, target.shape[::-1], interpolation=cv2.INTER_AREA)
        target /= 2


def extract(data: Path, out: Path, *words: object) -> float:
    """The command's processor time in seconds."""
    return spent("extract", data, out, "--quiet", *words)["seconds"]


def finer(weights: Path, stride: int, place: Path) -> Path:
    """A copy of the weights whose network has this output stride."""
    copy, card = place / f"stride{stride}.safetensors", replace(read_card(weights), output_stride=stride)
    write_tensors(copy, read_tensors(weights)[0], card.to_metadata())
    return copy


def zoom(data: Path, first: Path, keys: list[str], names: tuple[str, ...], place: Path) -> tuple[Path, float, int]:
    """Masks that `extract` made of photos, made again with a second look: their folder, its time, how many crops."""
    crops: dict[str, Crop] = {}
    folder = place / "crops"
    folder.mkdir()
    with (place / "crops.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("filename", "labels"))
        for key in keys:
            mask = load_mask(first / f"{key}.png")
            for wanted in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:255] > 0) + 1:
                if (mask == wanted).mean() < SMALL:
                    name = f"{key}_{wanted}.png"
                    crops[name] = crop = Crop(mask, int(wanted))
                    crop.write(photo_of(data, key), folder / name)
                    table.writerow((name, ";".join(names[c] for c in crop.classes)))
    words = ("--labels", place / "crops.csv", "--class-file", data / "classes.txt", "--refine", "none")
    seconds = extract(folder, place / "seen", *words)
    out, weights = place / "zoomed", find_weights(None)
    out.mkdir()
    head = bundled_head(weights)
    assert head is not None
    refiners = Walk(head, weights, kept=Cpmc.walk_seeds).for_classes(names[1:]), Crf(CrfSettings())
    for key in keys:
        scores = load_scores(first / "scores" / f"{key}.npz")
        planes = scores.upsample()
        for name, crop in crops.items():
            if name.rpartition("_")[0] == key:
                crop.join(planes, scores, load_scores(place / "seen" / "scores" / f"{Path(name).stem}.npz"))
        refined, photo = Refined(ScoreMap(scores.classes, planes, scores.size, 1), 0.5), read(photo_of(data, key))
        for refiner in refiners:
            refined = refiner.refine(photo, refined.scores, refined.threshold)
        save_mask(out / f"{key}.png", refined.scores.mask(refined.threshold))
    return out, seconds, len(crops)


def measure(row: str, keys: list[str], options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    data, kind, value = options.data, *row.partition(" ")[::2]
    with tempfile.TemporaryDirectory() as place:
        listed, out = Path(place, "keys.txt"), Path(place, "masks")
        listed.write_text("\n".join(keys) + "\n", "utf-8")
        words: list[object] = ["--labels", data / "labels.csv", "--class-file", data / "classes.txt", "--list", listed]
        words += ["--scales", value] if kind == "sizes" else []
        words += ["--weights", finer(find_weights(None), int(value), Path(place))] if kind == "stride" else []
        found: dict[str, Any] = {"row": row, "photos": len(keys), "seconds": extract(data / "JPEGImages", out, *words)}
        if kind == "zoom":
            out, seconds, found["crops"] = zoom(data, out, keys, names, Path(place))
            found["seconds"] += seconds
        table = Confusion(len(names))
        for key in keys:
            table.update(load_mask(out / f"{key}.png"), load_mask(data / "SegmentationClass" / f"{key}.png"))
    measures, person = table.measures(), names.index("person")
    found["miou"] = round(100 * float(measures.mean_iou(np.isin(names, CLASSES.split(",")))), 2)
    for name in ("iou", "precision", "recall"):
        found[f"person_{name}"] = round(100 * float(getattr(measures, name)[person]), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--every", type=int, default=4, help="only every n-th train photo")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = ("background", *read_card(find_weights(None)).classes)
    keys = photos(options.data, "train", options.every)
    done: list[dict[str, Any]] = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    print("| row | mIoU | person: IoU, precision, recall | time |\n|---|---|---|---|")
    for row in options.rows:
        found = next((one for one in done if (one["row"], one["photos"]) == (row, len(keys))), None)
        if found is None:
            done.append(found := measure(row, keys, options, names))
            if options.json:
                options.json.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
        person = ", ".join(f"{found[f'person_{name}']:.1f}" for name in ("iou", "precision", "recall"))
        print(f"| {row} | {found['miou']:.1f} | {person} | {found['seconds'] / done[0]['seconds']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
