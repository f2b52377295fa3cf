"""How long a segmentation network gains, and what masks from tags lose against true ones by then.

    python -m benchmarks.segmenter_schedule DATA MASKS OUT --json FILE [--epochs 24 48] [--seeds 0 1 2] [--pool 10]

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`); MASKS has what the everyday call made of its train photos.
LR-ASPP heads on the bundled weights' backbone, which does not change, with the crops and the schedule of `train-seg
--network lraspp_resnet50 --freeze all --crop 225`. What the backbone makes of the crops of the first --pool epochs is
computed once, kept in OUT as float16 (1.8 MB a crop), and used by all networks: both kinds of masks, all seeds (of the
head's first weights and the order of the photos) and all numbers of epochs, each with a schedule of its own. The loss
is that of every second pixel in both directions. Measured on all photos of val at a long side of 394 pixels, tags
unknown. What OUT and FILE have is not made again; other masks need others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality import photos
from benchmarks.seeds import CLASSES
from pseudomask.config import TrainSegConfig
from pseudomask.data.decoding import decode
from pseudomask.data.pixels import resize, with_long_side
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import Confusion
from pseudomask.networks.checkpoint import load_network, read_card
from pseudomask.networks.features import grown
from pseudomask.networks.segmenter import Segmenter
from pseudomask.networks.store import find_weights
from pseudomask.segmenting.crops import IGNORED, MaskCrops
from pseudomask.training.samples import batch_plan
from pseudomask.training.schedule import learning_rate_factor

KINDS = ("tags", "true")
SETTINGS = TrainSegConfig(masks=Path(), run=Path(), crop=225)
SIDE = round(1.75 * SETTINGS.crop)

Stages = tuple[Tensor, Tensor]
"""What LR-ASPP reads of a batch: the first output at stride 8, and the last."""


class Net(Segmenter):
    """A `Segmenter` whose two halves are called apart."""

    def stages(self, pixels: Tensor) -> Stages:
        """uint8 (B, H, W, 3) → float16."""
        with torch.inference_mode():
            found = self.backbone(self.backbone.normalisation.to_input(pixels, None))
            return found.outputs[self.head.low].half(), found.last.half()

    def logits(self, stages: Stages, size: tuple[int, int], every: int = 1) -> Tensor:
        """(B, labels, H, W), of every n-th pixel in both directions."""
        low = self.head.layers({"low": stages[0].float(), "high": stages[1].float()})
        return grown(low, self.head.stride, every, size, fitted=False)


class Pool:
    """What the backbone makes of crops: `stages`, two of (epochs, photos, …) float16, and `labels` by each of KINDS."""

    def __init__(self, folder: Path, network: Net, crops: dict[str, MaskCrops], epochs: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        done, n = folder / "epochs-done", len(crops["true"])
        first = int(done.read_text()) if done.is_file() else 0
        shapes = [one.shape[1:] for one in network.stages(crops["true"][0, 0][0][None])]
        mode: Any = "r+" if first else "w+"
        self.stages = [
            np.memmap(folder / f"stage{i}.f16", np.float16, mode, shape=(epochs, n, *shape))
            for i, shape in enumerate(shapes)
        ]
        self.labels = np.memmap(folder / "labels.i8", np.int8, mode, shape=(epochs, n, 2, *[SETTINGS.crop] * 2))
        for epoch in range(first, epochs):
            for start in range(0, n, SETTINGS.batch_size):
                places = slice(start, min(start + SETTINGS.batch_size, n))
                drawn = [[crops[kind][epoch, place] for place in range(n)[places]] for kind in KINDS]
                problems = [one[2] for same in drawn for one in same if one[2]]
                if problems:
                    sys.exit(problems[0])
                made = network.stages(torch.stack([one[0] for one in drawn[0]]))
                for kept, stage in zip(self.stages, made, strict=True):
                    kept[epoch, places] = stage.numpy()
                for kind, same in enumerate(drawn):
                    self.labels[epoch, places, kind] = torch.stack([one[1] for one in same]).numpy()
            done.write_text(str(epoch + 1))
            print(f"crops of {epoch + 1} of {epochs} epochs", flush=True)

    def batches(self, kind: str, epochs: int, seed: int) -> Iterator[tuple[Stages, Tensor]]:
        """What each step sees; epochs beyond the pool see the crops of former ones, in another order."""
        for step in batch_plan(seed, epochs, self.labels.shape[1], SETTINGS.batch_size):
            which = [epoch % len(self.labels) for epoch, _ in step], [photo for _, photo in step]
            labels = self.labels[(*which, KINDS.index(kind))]
            yield tuple(torch.from_numpy(one[which]) for one in self.stages), torch.from_numpy(labels).long()


def train(network: Net, batches: Iterator[tuple[Stages, Tensor]], steps: int) -> float:
    """Train the head; its mean loss over the last 50 steps."""
    network.head.train()
    rate, losses = SETTINGS.head_rate, []
    optimizer = torch.optim.SGD(
        network.head.parameters(), rate, momentum=SETTINGS.momentum, weight_decay=SETTINGS.weight_decay
    )
    for step, (stages, labels) in enumerate(batches):
        factor = learning_rate_factor(step, steps, power=SETTINGS.power, warmup=SETTINGS.warmup)
        optimizer.param_groups[0]["lr"] = rate * factor
        labels = labels[:, 1::2, 1::2]
        found = network.logits(stages, (labels.shape[1], labels.shape[2]), 2)
        loss = F.cross_entropy(found, labels, ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return mean(losses[-50:])


def measure(network: Net, seen: list[tuple[Stages, tuple[int, int], np.ndarray]], names: list[str]) -> dict[str, float]:
    """Percent: the mean over CLASSES, and each of them."""
    network.head.eval()
    table = Confusion(len(names))
    with torch.inference_mode():
        for stages, size, truth in seen:
            found = F.interpolate(network.logits(stages, size), size=truth.shape, mode="bilinear")
            table.update(found.argmax(1)[0].numpy().astype(np.uint8), truth)
    iou = dict(zip(names, (100 * table.measures().iou).tolist(), strict=True))
    chosen = {name: round(iou[name], 1) for name in CLASSES.split(",")}
    return {"miou": round(mean(iou[name] for name in chosen), 2), **chosen}


def table(rows: list[dict[str, Any]], seeds: list[int]) -> str:
    """Markdown, a line for each number of epochs."""
    lines = ["| epochs | masks from tags | true masks | ratio |", "| --- | --- | --- | --- |"]
    for epochs in sorted({row["epochs"] for row in rows}):
        found = {kind: [r["miou"] for r in rows if (r["epochs"], r["masks"]) == (epochs, kind)] for kind in KINDS}
        if all(len(each) == len(seeds) for each in found.values()):
            cells = [f"{mean(each):.1f} ({', '.join(f'{one:.1f}' for one in each)})" for each in found.values()]
            lines.append(f"| {epochs} | {' | '.join(cells)} | {mean(found['tags']) / mean(found['true']):.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, nargs="+", default=[24, 48])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pool", type=int, default=10, help="epochs whose crops are kept")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    data, truths, weights = options.data, options.data / "SegmentationClass", find_weights(None)
    names = ["background", *read_card(weights).classes]
    keys, paths = photos(data, "train", 1), {}
    for key in (*keys, *photos(data, "val", 1)):
        paths[key] = data / "JPEGImages" / f"{key}.jpg"

    def new(seed: int) -> Net:
        torch.manual_seed(seed)
        return Net(load_network(weights)[0].backbone, "lraspp", len(names)).eval()

    network = new(0)
    settings = {"crop": SETTINGS.crop, "sides": SETTINGS.sides, "seed": 0}
    settings["around"] = network.backbone.normalisation.mean_level
    crops = {
        kind: MaskCrops(
            [paths[key] for key in keys], [folder / f"{key}.png" for key in keys], classes=len(names) - 1, **settings
        )
        for kind, folder in zip(KINDS, (options.masks, truths), strict=True)
    }
    pool = Pool(options.out, network, crops, options.pool)
    seen = []
    for key in photos(data, "val", 1):
        photo, truth = decode(paths[key]), load_mask(truths / f"{key}.png")
        view = resize(photo, with_long_side(truth.shape, SIDE))
        seen.append((network.stages(torch.from_numpy(view)[None]), view.shape[:2], truth))
    rows: list[dict[str, Any]] = json.loads(options.json.read_text("utf-8")) if options.json.is_file() else []
    for epochs in options.epochs:
        for seed in options.seeds:
            for kind in KINDS:
                what = {"epochs": epochs, "masks": kind, "seed": seed}
                if any(what.items() <= row.items() for row in rows):
                    continue
                network = new(seed)
                steps = len(batch_plan(seed, epochs, len(keys), SETTINGS.batch_size))
                loss = train(network, pool.batches(kind, epochs, seed), steps)
                rows.append({**what, "loss": round(loss, 4), **measure(network, seen, names)})
                options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
                print(rows[-1], flush=True)
    print(table(rows, options.seeds))


if __name__ == "__main__":
    main()
