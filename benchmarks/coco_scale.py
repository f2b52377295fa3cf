"""Time and memory of everything but the network at the size of COCO 2014, with tiny synthetic photos.

    python -m benchmarks.coco_scale --photos 82783 --val 40504

Lays out `coco/` as the official folders, in a temporary folder: photos are links to a few small JPEGs, the annotations
have about as many objects as COCO's (7.3 a photo, with 26 points each). Then, each in a process of its own: *listing*
the photos; *labels*, reading them and matching tags; *truth*, opening the annotations as true masks; *planning*, `run
examples/coco2014-recam.toml --dry-run`; *manifest*, writing, reading and sorting a line per photo; *evaluation* of a
mask per photo against masks drawn from the annotations. Memory is the process's peak.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pseudomask.running.record import peak_memory

EXAMPLE = Path(__file__).parents[1] / "examples" / "coco2014-recam.toml"
KINDS = 16
OBJECTS, POINTS = 7.3, 26


def lay_out(photos: int, val: int, size: tuple[int, int]) -> None:
    """coco/ in the current folder, and masks/ for its training photos."""
    rng = np.random.default_rng(0)
    width, height = size
    pictures, masks = [], []
    for _ in range(KINDS):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        pictures.append(_encoded(small.resize(size, Image.Resampling.BILINEAR), "JPEG"))
        labels = np.kron(
            rng.integers(0, 81, (6, 8), dtype=np.uint8), np.ones((-(-height // 6), -(-width // 8)), np.uint8)
        )
        masks.append(_encoded(Image.fromarray(labels[:height, :width]), "PNG"))
    annotations = Path("coco/annotations")
    annotations.mkdir(parents=True)
    for split, number in (("train2014", photos), ("val2014", val)):
        names = [f"COCO_{split}_{7 * i + 9:012d}" for i in range(number)]
        _links(Path("coco") / split, [f"{name}.jpg" for name in names], pictures)
        _write_annotations(annotations / f"instances_{split}.json", names, size, rng)
        if split == "train2014":
            _links(Path("masks"), [f"{name}.png" for name in names], masks)
    Path("masks/run.json").write_text(
        json.dumps({"schema": 1, "command": "extract", "classes": _names(), "config": {}})
    )


def _encoded(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def _links(folder: Path, names: list[str], contents: list[bytes]) -> None:
    """Files with these names; each content is stored once (or a few times: file systems limit links)."""
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        if i % 20_000 < KINDS:
            (folder / name).write_bytes(contents[i % KINDS])
        else:
            os.link(folder / names[i - i % 20_000 + i % KINDS], folder / name)


def _names() -> list[str]:
    return [f"class {i}" for i in range(80)]


def _write_annotations(path: Path, names: list[str], size: tuple[int, int], rng: np.random.Generator) -> None:
    """An instances file; like COCO's, ids of categories have gaps and one object in a hundred is a crowd."""
    width, height = size
    shapes = []
    for _ in range(500):
        x, y, r = rng.random() * width, rng.random() * height, (0.05 + 0.2 * rng.random()) * height
        angle = np.linspace(0, 2 * np.pi, POINTS)
        points = np.stack([x + r * np.cos(angle), y + r * np.sin(angle)], 1).clip(0, [width, height])
        shapes.append(json.dumps([[round(float(value), 2) for value in points.ravel()]]))
    crowd = json.dumps({"size": [height, width], "counts": [width * height // 3, width * height - width * height // 3]})
    with path.open("w") as file:
        file.write('{"info": {}, "images": [')
        url = "example, flickr and coco addresses of about this length: " + 60 * "x"
        rows = (
            f'{{"license": 1, "file_name": "{name}.jpg", "coco_url": "{url}", "height": {height}, "width": {width}, '
            f'"flickr_url": "{url}", "id": {7 * i + 9}}}'
            for i, name in enumerate(names)
        )
        file.write(", ".join(rows) + '], "annotations": [')
        number = 0
        for i in range(len(names)):
            parts = []
            for _ in range(rng.poisson(OBJECTS)):
                number += 1
                is_crowd = number % 100 == 0
                shape = crowd if is_crowd else shapes[number % len(shapes)]
                parts.append(
                    f'{{"segmentation": {shape}, "area": 1234.5, "iscrowd": {int(is_crowd)}, '
                    f'"image_id": {7 * i + 9}, "bbox": [1.0, 2.0, 30.5, 40.25], '
                    f'"category_id": {_category(int(rng.integers(80)))}, "id": {number}}}'
                )
            file.write(("," if i and parts and number > len(parts) else "") + ",".join(parts))
        categories = [{"id": _category(i), "name": name, "supercategory": "x"} for i, name in enumerate(_names())]
        file.write('], "categories": ' + json.dumps(categories) + "}")


def _category(position: int) -> int:
    return position + 1 + position // 8


def listing() -> str:
    from pseudomask.data.images import find_images

    return f"{len(find_images(Path('coco/train2014'))):,} photos"


def labels() -> str:
    from pseudomask.config import TrainClsConfig
    from pseudomask.training.split import gather

    config = TrainClsConfig(
        images=Path("coco/train2014"),
        run=Path("none"),
        labels=Path("coco/annotations/instances_train2014.json"),
        val_fraction=0.0,
    )
    split = gather(config)
    return f"{sum(split.training.tag_counts().values()):,} tags of {len(split.training.classes)} classes"


def truth() -> str:
    from pseudomask.measuring.coco_truth import read_coco_truth

    found = read_coco_truth(Path("coco/annotations/instances_train2014.json"), None, "ignore", 255)
    return f"{sum(map(len, found.spans.values())):,} objects, {len(found.text) / 1e6:.0f} MB of text"


def planning() -> str:
    from pseudomask.config import RunConfig
    from pseudomask.pipeline import run

    os.environ["PSEUDOMASK_BACKBONE_WEIGHTS"] = "imagenet"  # nothing is downloaded
    result = run(RunConfig(config=Path("chain.toml"), dry_run=True))
    return f"{len(result.steps)} steps"


def manifest() -> str:
    from pseudomask.data.images import find_images
    from pseudomask.running.manifest import Manifest

    keys = [item.key for item in find_images(Path("coco/train2014"))]
    written = Manifest(Path("manifest.jsonl"))
    classes = [{"class": name, "area": 0.25, "margin": 0.5} for name in _names()[:3]]
    for key in reversed(keys):
        written.append({"key": key, "status": "done", "size": [64, 48], "classes": classes, "ignored": 0.0})
    written.compact(keys)
    return f"{len(written.load()):,} lines, {written.path.stat().st_size / 1e6:.0f} MB"


def evaluation() -> str:
    from pseudomask.config import EvaluateConfig
    from pseudomask.evaluation import evaluate

    gt = Path("coco/annotations/instances_train2014.json")
    result = evaluate(EvaluateConfig(pred=Path("masks"), gt=gt, json_file=Path("report.json")))
    return f"{result.report.protocol.images:,} masks, mean IoU {100 * result.report.mean_iou:.1f}"


PHASES: dict[str, Callable[[], str]] = {
    one.__name__: one for one in (listing, labels, truth, planning, manifest, evaluation)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=82_783)
    parser.add_argument("--val", type=int, default=40_504)
    parser.add_argument("--size", default="64x48", help="width x height of the photos, masks and annotations")
    parser.add_argument("--phase", choices=PHASES, help="only this one, in the current folder")
    options = parser.parse_args()
    if options.phase:
        started = time.perf_counter()
        told = PHASES[options.phase]()
        memory = (peak_memory() or 0) / 2**20
        print(f"| {options.phase} | {told} | {time.perf_counter() - started:.1f} | {memory:,.0f} |")
        return
    with tempfile.TemporaryDirectory(prefix="coco-scale-") as place:
        os.chdir(place)
        width, _, height = options.size.partition("x")
        lay_out(options.photos, options.val, (int(width), int(height)))
        text = EXAMPLE.read_text("utf-8").replace("82783", str(options.photos)).replace("40504", str(options.val))
        Path("chain.toml").write_text(text, "utf-8")
        print("| phase | of | seconds | peak memory, MiB |\n| --- | --- | --- | --- |", flush=True)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        for phase in PHASES:
            command = [sys.executable, "-m", "benchmarks.coco_scale", "--phase", phase]
            subprocess.run(command, env=environment, check=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
