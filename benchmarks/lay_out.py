"""Lay photos out as the official folders of PASCAL VOC 2012 and COCO 2014, to run examples/*.toml on a few of them.

    python -m benchmarks.lay_out OUT --voc DATA --coco DATA --train-aug 48 --train 24 --val 12

VOC's DATA has JPEGImages, SegmentationClass, ImageSets/{train,train_aug,val}.txt and labels.csv, COCO's has images and
instances.json. Photos and masks are linked, annotations are written: VOC's XML holds names only, without boxes. Every
fifth of COCO's photos becomes one of val2014.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape


def lay_out_voc(data: Path, out: Path, numbers: dict[str, int | None]) -> Path:
    """VOCdevkit/VOC2012 below `out`; `numbers`: names by list, None for all. train_aug begins with train's names."""
    root = out / "VOCdevkit" / "VOC2012"
    lists = {name: (data / "ImageSets" / f"{name}.txt").read_text().split() for name in ("train", "val", "train_aug")}
    kept = {name: _spread(names, numbers.get(name)) for name, names in lists.items()}
    more = [name for name in kept["train_aug"] if name not in kept["train"]]
    kept["train_aug"] = [*kept["train"], *more][: numbers.get("train_aug")]
    _write(
        root / "ImageSets" / "Segmentation", {f"{name}.txt": "\n".join(names) + "\n" for name, names in kept.items()}
    )
    used = {name for names in kept.values() for name in names}
    with (data / "labels.csv").open(newline="") as file:
        tags = {Path(row["filename"]).stem: row["labels"].split(";") for row in csv.DictReader(file)}
    _write(root / "Annotations", {f"{name}.xml": annotation(tags[name]) for name in used})
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        _link([data / folder / f"{name}{suffix}" for name in sorted(used)], root / folder)
    return root


def annotation(names: Sequence[str]) -> str:
    """VOC's XML of a photo with these objects."""
    objects = "".join(f"<object><name>{escape(name)}</name><difficult>0</difficult></object>" for name in names if name)
    return f"<annotation>{objects}</annotation>\n"


def lay_out_coco(data: Path, out: Path) -> Path:
    """coco below `out`: train2014, val2014 and annotations, with the names that COCO 2014 gives its photos."""
    root = out / "coco"
    content = json.loads((data / "instances.json").read_text())
    for split, chosen in (("train2014", lambda i: i % 5), ("val2014", lambda i: not i % 5)):
        images = [dict(row) for i, row in enumerate(content["images"]) if chosen(i)]
        ids = {row["id"] for row in images}
        for row in images:
            source = data / "images" / row["file_name"]
            row["file_name"] = f"COCO_{split}_{row['id']:012d}.jpg"
            _link([source], root / split, [row["file_name"]])
        part: dict[str, Any] = content | {
            "images": images,
            "annotations": [row for row in content["annotations"] if row["image_id"] in ids],
        }
        _write(root / "annotations", {f"instances_{split}.json": json.dumps(part)})
    return root


def _spread(names: Sequence[str], number: int | None) -> list[str]:
    """So many of the names, evenly spread."""
    return list(names) if number is None else [names[i * len(names) // number] for i in range(min(number, len(names)))]


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def _link(files: Sequence[Path], folder: Path, names: Sequence[str] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, name in zip(files, names or [file.name for file in files], strict=True):
        if file.exists():
            (folder / name).symlink_to(file.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--voc", type=Path)
    parser.add_argument("--coco", type=Path)
    parser.add_argument("--train-aug", type=int, help="number of names in this list of VOC; by default all")
    parser.add_argument("--train", type=int, help="the same")
    parser.add_argument("--val", type=int, help="the same")
    options = parser.parse_args()
    if options.voc:
        numbers = {"train_aug": options.train_aug, "train": options.train, "val": options.val}
        print(lay_out_voc(options.voc, options.out, numbers))
    if options.coco:
        print(lay_out_coco(options.coco, options.out))


if __name__ == "__main__":
    main()
