r"""What each kind of region taught: photos with the mask before, the region, and the mask after, in one picture.

    python -m benchmarks.calibrate_ablation DATA OUT --photos 240 --every 8 --cam lpcam
    python -m benchmarks.region_pictures DATA OUT docs/regions.jpg

OUT is the folder of the ablation, whose heads and confident labels are used. `Before` are the seeds of heads that were
taught by anchors alone, `after` those of heads that were also taught by one kind of region. Of the photos they were
trained on, those with the largest regions of that kind are shown, whatever became of them: above by false negatives
(blue), below by false positives (red). How much of the regions each of the heads gives its label is printed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.before_after import jpeg, sheet, tile
from benchmarks.calibrate_ablation import call
from pseudomask.data.decoding import decode
from pseudomask.masks import load_mask, overlay
from pseudomask.running.atomic import atomic_write

SHOWN, COLUMNS, IGNORED = 4, 2, 255
KINDS = {"false negatives": ("fn1-fp0", (40, 110, 255)), "false positives": ("fn0-fp1", (255, 50, 40))}


def seeds(run: str, keys: list[str], place: Path, options: argparse.Namespace) -> Path:
    """The folder with masks of these photos by the heads of a run."""
    listed, made = place / f"{run}.txt", place / run
    listed.write_text("\n".join(keys) + "\n", "utf-8")
    data, weights = options.data, options.out / f"{run}-{options.seed}" / "weights.safetensors"
    words = ("extract", data / "JPEGImages", made, "--labels", data / "labels.csv", "--list", listed)
    words += ("--class-file", data / "classes.txt", "--weights", weights, "--method", "cpmc", "--cam", "lpcam")
    words += ("--tta", "fast", "--refine", "none", "--threshold", 0.5)
    call(*words)
    return made


def region(kind: str, mask: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Pixels of this kind, (H, W) bool: the teacher's class that the mask lacks, or background that it has not."""
    known = label != IGNORED
    found: np.ndarray = known & (mask != label) & ((label > 0) if kind == "false negatives" else (label == 0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, help="folder of benchmarks.calibrate_ablation")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keys = (options.out / "photos.txt").read_text("utf-8").split()
    labels = options.out / f"fn0-fp0-{options.seed}" / "confident"
    keys = [key for key in keys if (labels / f"{key}.png").exists()]
    with tempfile.TemporaryDirectory() as folder:
        place, groups = Path(folder), []
        before = seeds("fn0-fp0", keys, place, options)
        truth = {key: load_mask(labels / f"{key}.png") for key in keys}
        first = {key: load_mask(before / f"{key}.png") for key in keys}
        for kind, (run, colour) in KINDS.items():
            regions = {key: region(kind, first[key], truth[key]) for key in keys}
            after = seeds(run, keys, place, options)
            then = {key: load_mask(after / f"{key}.png") for key in keys}
            pixels = sum(int(one.sum()) for one in regions.values())
            mended = sum(int((one & (then[key] == truth[key])).sum()) for key, one in regions.items())
            spoilt = sum(int(region(kind, then[key], truth[key])[~one].sum()) for key, one in regions.items())
            shares = (
                f"{100 * mended / pixels:.1f} % of the pixels right after, {100 * spoilt / pixels:.1f} % as many new"
            )
            print(f"{kind}: {shares}; shown: {', '.join(most := largest(regions))}")
            for key in most:
                photo = decode(options.data / "JPEGImages" / f"{key}.jpg")
                marked = photo.copy()
                marked[regions[key]] = (0.25 * marked[regions[key]] + 0.75 * np.array(colour)).astype(np.uint8)
                groups.append([tile(one) for one in (photo, overlay(photo, first[key]), marked)])
                groups[-1].append(tile(overlay(photo, then[key])))
    with atomic_write(options.picture) as file:
        file.write(jpeg(sheet(groups, COLUMNS)))


def largest(regions: dict[str, np.ndarray]) -> list[str]:
    """The photos with the largest regions, as a share of the photo."""
    return sorted(regions, key=lambda key: -float(regions[key].mean()))[:SHOWN]


if __name__ == "__main__":
    main()
