"""How many photos a class needs: mask IoU after `train-cls --fit lda` on small random subsets.

    python -m benchmarks.few_photos DATA OUT [--rows cat+dog+horse:20:0:lda …] [--parts train val …] [--json FILE]

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`), with ImageSets/train_aug.txt. A row
CLASSES:PHOTOS:SEED:RECIPE draws PHOTOS photos of each class, and as many that show none, from the photos of train_aug
that are not in train; tags of other classes are left out. On them it runs the lines of the README's "Your own classes":
`train-cls --fit lda`, or for the recipe `sgd` `train-cls --crop 320` and `reactivate --crop 320`; for `calibrated`,
`calibrate` follows on `lda`. Then `extract`, with tags given and else at its defaults, makes masks of photos of train
and val that show one of the classes (every n-th, so that at most --most are left). The parts cam, recam and cpmc are
`--method cam` and so on with `--refine none`, on val. The recipe `bundled` trains nothing. IoU is the mean over
CLASSES, without background; all else is background. The row also keeps what `check` says before training.

With `lda` the backbone is the same in all rows. Its features are therefore kept in OUT/features, and the commands run
in one process, which changes the time but no byte. The part `time` measures train-cls and extract of the row's own
photos, as processes of their own, without anything kept. What FILE has is not measured again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pseudomask.checking.check import check
from pseudomask.cli import app
from pseudomask.config import CheckConfig
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import Confusion
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.features import Features

SPLITS = ("train", "val")
PARTS = (*SPLITS, "cam", "recam")
SEEDS = (*PARTS[2:], "cpmc")
THREE, SIX = "cat+dog+horse", "cat+cow+dog+horse+person+sheep"
ROWS = (
    *(f"{THREE}:{photos}:{seed}:lda" for seed in range(3) for photos in (5, 10, 20, 40)),
    *(f"dog:{photos}:{seed}:lda" for seed in range(3) for photos in (20, 60)),
    *(f"{THREE}:{photos}:0:lda" for photos in (60, 80)),
    f"{SIX}:40:0:lda",
    *(f"{classes}:0:0:bundled" for classes in (THREE, "dog", SIX)),
)


class Row(NamedTuple):
    """CLASSES:PHOTOS:SEED:RECIPE."""

    classes: tuple[str, ...]
    photos: int
    seed: int
    recipe: str

    @classmethod
    def parse(cls, text: str) -> Row:
        classes, photos, seed, recipe = text.split(":")
        return cls(tuple(sorted(classes.split("+"))), int(photos), int(seed), recipe)


class Data(NamedTuple):
    """A folder laid out like PASCAL VOC."""

    folder: Path
    tags: dict[str, set[str]]

    @classmethod
    def read(cls, folder: Path) -> Data:
        with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
            return cls(
                folder, {Path(row["filename"]).stem: set(row["labels"].split(";")) for row in csv.DictReader(file)}
            )

    def split(self, name: str) -> list[str]:
        return (self.folder / "ImageSets" / f"{name}.txt").read_text("utf-8").split()

    def write(self, place: Path, name: str, keys: list[str], classes: tuple[str, ...]) -> list[object]:
        """A table of the photos' tags among `classes`, and a list of the photos: arguments for the verbs."""
        table, listed = place / f"{name}.csv", place / f"{name}.txt"
        lines = [f"{key}.jpg,{';'.join(sorted(self.tags[key] & {*classes}))}" for key in keys]
        table.write_text("\n".join(["filename,labels", *lines, ""]), "utf-8")
        listed.write_text("\n".join([*keys, ""]), "utf-8")
        return ["--labels", table, "--list", listed]


def subset(data: Data, row: Row) -> list[str]:
    """The photos to train on. With the same seed, a smaller subset is part of a larger one."""
    masked = {*data.split("train"), *data.split("val")}
    pool = [key for key in data.split("train_aug") if key not in masked]
    random.Random(row.seed).shuffle(pool)
    chosen: dict[str, None] = {}
    for name in row.classes:
        chosen |= dict.fromkeys([key for key in pool if name in data.tags[key]][: row.photos])
    chosen |= dict.fromkeys([key for key in pool if not data.tags[key] & {*row.classes}][: row.photos])
    return sorted(chosen)


def shown(data: Data, row: Row, split: str, most: int) -> list[str]:
    """The photos to measure."""
    found = [key for key in data.split(split) if data.tags[key] & {*row.classes}]
    return found[:: -(-len(found) // most)]


def call(*words: object) -> None:
    """The command, in this process."""
    if code := app.run([str(word) for word in (*words, "--quiet")]):
        sys.exit(f"{words[0]} failed with exit code {code}")


def timed(*words: object) -> dict[str, float]:
    """The command as a process of its own: seconds on the clock and of the processor."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pseudomask", *map(str, words), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{words[0]} failed with exit code {os.waitstatus_to_exitcode(status)}")
    return {"clock": round(time.monotonic() - started, 1), "processor": round(usage.ru_utime + usage.ru_stime, 1)}


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Backbones without gradient read their features of an input seen before from `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, sums = Backbone.forward, WeakKeyDictionary[Backbone, bytes]()

    def forward(self: Backbone, x: Tensor, *, pyramid: bool = True, **more: Any) -> Features:
        if torch.is_grad_enabled() or any(more.values()):
            return plain(self, x, pyramid=pyramid, **more)
        if self not in sums:
            sums[self] = b"".join(one.double().sum().numpy().tobytes() for one in self.state_dict().values())
        facts = f"{x.shape} {x.dtype} {torch.get_autocast_dtype('cpu') if torch.is_autocast_enabled('cpu') else None}"
        key = hashlib.sha256(x.contiguous().float().numpy().tobytes() + sums[self] + facts.encode()).hexdigest()
        whole, last = folder / f"{key}.whole", folder / f"{key}.last"
        file = whole if pyramid or whole.exists() else last
        if not file.exists():
            found = plain(self, x, pyramid=pyramid)
            save_file({str(i): one.contiguous() for i, one in enumerate(found.outputs)}, file)
            return found
        tensors = load_file(file)
        outputs = tuple(tensors[str(i)] for i in range(len(tensors)))
        if not pyramid:
            return Features(outputs[-1:], self.strides[-1:], (x.shape[-2], x.shape[-1]))
        return Features(outputs, self.strides, (x.shape[-2], x.shape[-1]))

    Backbone.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        Backbone.forward = plain  # type: ignore[method-assign]


def iou(data: Data, row: Row, keys: list[str], masks: Path, numbers: Sequence[str]) -> dict[str, Any]:
    """Percent, by class and their mean; `numbers` are the masks' classes, in order."""
    names = (data.folder / "classes.txt").read_text("utf-8").split()
    own = {name: i for i, name in enumerate(row.classes, 1)}
    from_truth = np.array([own.get(names[i], 0) if i < len(names) else 255 for i in range(256)], np.uint8)
    from_mask = np.array([0, *(own.get(name, 0) for name in numbers)], np.uint8)
    table = Confusion(len(row.classes) + 1)
    for key in keys:
        truth = load_mask(data.folder / "SegmentationClass" / f"{key}.png")
        table.update(from_mask[load_mask(masks / f"{key}.png")], from_truth[truth])
    found = [round(100 * float(one), 2) for one in table.measures().iou[1:]]
    return {"mean": round(mean(found), 2), **dict(zip(row.classes, found, strict=True)), "photos": len(keys)}


def training(row: Row, place: Path, given: list[object], images: Path) -> tuple[list[list[object]], Path]:
    """The commands that train, and the weights that they make."""
    common = [*given, "--seed", row.seed]
    first = place / "cls" / "weights.safetensors"
    fit = ["train-cls", images, place / "cls", *common, "--fit", "lda"]
    if row.recipe == "lda":
        return [fit], first
    if row.recipe == "calibrated":
        heads = ["calibrate", images, place / "cpmc", *common, "--weights", first, "--epochs", 8, "--val-fraction", 0]
        return [fit, heads], place / "cpmc" / "weights.safetensors"
    small = [*common, "--crop", 320]
    reactivate = ["reactivate", images, place / "recam", *small, "--weights", first]
    return [["train-cls", images, place / "cls", *small], reactivate], place / "recam" / "weights.safetensors"


def checked(data: Data, row: Row, place: Path) -> dict[str, Any]:
    """Number of photos to train on, and what `check` says of the classes."""
    place.mkdir(parents=True, exist_ok=True)
    keys = subset(data, row)
    data.write(place, "photos", keys, row.classes)
    images = data.folder / "JPEGImages"
    told = check(CheckConfig(images=images, labels=place / "photos.csv", list=place / "photos.txt", decode=False))
    return {
        "photos": len(keys),
        "verdicts": {one.name: one.verdict for one in sorted(told.classes, key=lambda one: one.name)},
    }


def prepare(data: Data, row: Row, place: Path) -> list[object]:
    """Train unless it is done. What `extract` needs besides photos and tags."""
    if row.recipe == "bundled":
        return ["--class-file", data.folder / "classes.txt"]
    given = data.write(place, "photos", subset(data, row), row.classes)
    commands, weights = training(row, place, given, data.folder / "JPEGImages")
    if not weights.exists():
        for words in commands:
            call(*words)
    return ["--weights", weights]


def measure(data: Data, row: Row, part: str, place: Path, extra: list[object], most: int) -> dict[str, Any]:
    """IoU of one part."""
    place.mkdir(parents=True, exist_ok=True)
    split, own = (part, ["--overlay"]) if part in SPLITS else ("val", ["--method", part, "--refine", "none"])
    keys = shown(data, row, split, most)
    given = [*data.write(place, part, keys, row.classes), *extra, *own]
    call("extract", data.folder / "JPEGImages", place / part, *given, "--overwrite")
    bundled = row.recipe == "bundled"
    numbers = (data.folder / "classes.txt").read_text("utf-8").split()[1:] if bundled else row.classes
    record = json.loads((place / part / "run.json").read_text("utf-8"))
    return iou(data, row, keys, place / part, numbers) | {"refined_by": record["protocol"].get("refined_by", "none")}


def times(data: Data, row: Row, place: Path) -> dict[str, Any]:
    """What the commands cost on the row's own photos."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    images, keys = data.folder / "JPEGImages", subset(data, row)
    given = data.write(place, "photos", keys, row.classes)
    commands, weights = training(row, place, given, images)
    trained = [timed(*words) for words in commands]
    made = timed("extract", images, place / "masks", *given, "--weights", weights)
    total = {name: round(sum(one[name] for one in trained), 1) for name in made}
    return {"photos": len(keys), "training": total, "extract": made, "load": round(os.getloadavg()[0], 1)}


def _place(one: tuple[str, Any]) -> tuple[str, str, int, str]:
    """Rows by recipe, bundled last, then by number of photos and seed."""
    classes, photos, seed, recipe = one[0].split(":")
    return ("" if recipe != "bundled" else recipe, classes, int(photos), seed)


def table(done: dict[str, Any]) -> str:
    """Markdown: a line for all seeds of a set of classes, a number of photos and a recipe."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for text, found in sorted(done.items(), key=_place):
        classes, photos, _, recipe = text.split(":")
        groups.setdefault((classes.replace("+", ", "), photos, recipe), []).append(found)
    lines = ["| classes | photos a class | recipe | train | val | CAM, val | ReCAM, val | check |", f"|{'---|' * 8}"]
    for key, rows in groups.items():
        cells = [" / ".join(f"{row[part]['mean']:.1f}" for row in rows if part in row) for part in PARTS]
        verdicts = {one for row in rows for one in row.get("verdicts", {}).values()}
        lines.append(f"| {' | '.join([*key, *cells, ', '.join(sorted(verdicts))])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, help="folder for weights, masks and kept features; may be deleted afterwards")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="CLASSES:PHOTOS:SEED:RECIPE")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=(*SPLITS, *SEEDS, "time"))
    parser.add_argument("--most", type=int, default=20, help="photos to measure of each split")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = Data.read(options.data)
    done: dict[str, Any] = {}
    if options.json and options.json.exists():
        done = json.loads(options.json.read_text("utf-8"))
    for text in options.rows:
        row, place, found = Row.parse(text), options.out / text.replace(":", "-"), done.setdefault(text, {})
        if found.setdefault("most", options.most) != options.most:
            sys.exit(f"--most {options.most}: {options.json} was measured with {found['most']}")
        found |= checked(data, row, place) if row.photos else {}
        for part in options.parts:
            if part == "time":
                found[part] = found.get(part) or times(data, row, options.out / "timed")
            elif part not in found:
                with keeping(options.out / "features"):
                    found[part] = measure(data, row, part, place, prepare(data, row, place), options.most)
            if options.json:
                options.json.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
            print(text, part, json.dumps(found[part]), flush=True)
    print(table(done))


if __name__ == "__main__":
    main()
