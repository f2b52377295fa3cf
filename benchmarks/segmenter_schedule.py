"""How long a segmentation network gains, and what masks from tags lose against true ones by then.

    python -m benchmarks.segmenter_schedule DATA OUT --masks tags=FOLDER [NAME=FOLDER …] --json FILE [--epochs 24 48]
        [--seeds 0 1 2] [--pool 10] [--halves] [--device cuda]

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`); a FOLDER has masks of its train photos, such as the everyday
call's, and `true` are DATA's own. LR-ASPP heads on the bundled weights' backbone, which does not change, with the crops
and the schedule of `train-seg --network lraspp_resnet50 --freeze all --crop 225`. What the backbone makes of the crops
of the first --pool epochs is computed once, kept in OUT as float16 (1.8 MB a crop), and used by all networks: all
masks, all seeds (of the head's first weights and the order of the photos) and all numbers of epochs, each with a
schedule of its own. The loss is that of every second pixel in both directions. Measured on all photos of val at a long
side of 394 pixels, tags unknown. What OUT and FILE have is not made again; new masks need new names.

--halves leaves val alone, to choose between masks: a network trained on every second train photo is measured on the
others, another the other way round.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import product
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
from pseudomask.training.loading import Batch, load_batches
from pseudomask.training.samples import batch_plan
from pseudomask.training.schedule import learning_rate_factor

TRUE = "true"
SETTINGS = TrainSegConfig(masks=Path(), run=Path(), crop=225)
SIDE = round(1.75 * SETTINGS.crop)

Stages = tuple[Tensor, ...]
"""What LR-ASPP reads of a batch: the first output at stride 8, and the last."""
Seen = Sequence[tuple[Stages, tuple[int, int], np.ndarray]]
"""Of each photo: what the head reads, the size of the logits, the true mask."""


class Net(Segmenter):
    """A `Segmenter` whose two halves are called apart."""

    def stages(self, pixels: Tensor) -> Stages:
        """uint8 (B, H, W, 3) → float16, on the network's device."""
        with torch.inference_mode():
            pixels = pixels.to(next(self.parameters()).device)
            found = self.backbone(self.backbone.normalisation.to_input(pixels, None))
            return found.outputs[self.head.low].half(), found.last.half()

    def logits(self, stages: Stages, size: tuple[int, int], every: int = 1) -> Tensor:
        """(B, labels, H, W), of every n-th pixel in both directions."""
        low = self.head.layers({"low": stages[0].float(), "high": stages[1].float()})
        return grown(low, self.head.stride, every, size, fitted=False)


class Pool:
    """What the backbone makes of crops: `stages`, two of (epochs, photos, …) float16, and `labels` by kind of masks."""

    def __init__(
        self, folder: Path, network: Net, crops: dict[str, MaskCrops], epochs: int, device: torch.device
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.epochs, self.n, self.device = folder, epochs, len(crops[TRUE]), device
        self.stages, self.labels = [], {}
        for i, one in enumerate(network.stages(crops[TRUE][0, 0][0][None])):
            self.stages.append(self._array(f"stage{i}.f16", np.float16, one.shape[1:]))
        for epoch, places, (pixels, _, _) in self._missing("stages", crops[TRUE]):
            for kept, stage in zip(self.stages, network.stages(pixels), strict=True):
                kept[epoch, places] = stage.cpu()
        for kind, mine in crops.items():
            self.labels[kind] = self._array(f"{kind}.i8", np.int8, [SETTINGS.crop] * 2)
            for epoch, places, (_, labels, _) in self._missing(kind, mine):
                self.labels[kind][epoch, places] = labels.to(torch.int8)
        if device.type != "cpu":
            self.stages = [one.to(device) for one in self.stages]
            self.labels = {kind: one.to(device) for kind, one in self.labels.items()}

    def _array(self, name: str, kind: Any, shape: Sequence[int]) -> Tensor:
        """(epochs, photos, …), of which each change goes to the file."""
        mode: Any = "r+" if (self.folder / name).is_file() else "w+"
        return torch.from_numpy(np.memmap(self.folder / name, kind, mode, shape=(self.epochs, self.n, *shape)))

    def _missing(self, what: str, crops: MaskCrops) -> Iterator[tuple[int, list[int], Batch]]:
        """Batches that are not in the folder yet: their epoch, their photos, what was drawn."""
        done = self.folder / f"{what}-done"
        first, size = int(done.read_text()) if done.is_file() else 0, SETTINGS.batch_size
        places = [list(range(start, min(start + size, self.n))) for start in range(0, self.n, size)]
        plan = [(epoch, some) for epoch in range(first, self.epochs) for some in places]
        indices = [[(epoch, place) for place in some] for epoch, some in plan]
        drawn = load_batches(crops, indices, workers=-1, device=self.device)
        for (epoch, some), batch in zip(plan, drawn, strict=True):
            if problems := [one for one in batch[2] if one]:
                sys.exit(problems[0])
            yield epoch, some, batch
            if some == places[-1]:
                done.write_text(str(epoch + 1))
                print(f"{what}: {epoch + 1} of {self.epochs} epochs", flush=True)

    def batches(self, kind: str, epochs: int, seed: int, photos: range) -> Iterator[tuple[Stages, Tensor]]:
        """What each step sees; epochs beyond the pool see the crops of former ones, in another order."""
        for step in batch_plan(seed, epochs, len(photos), SETTINGS.batch_size):
            which = [epoch % self.epochs for epoch, _ in step], [photos[place] for _, place in step]
            yield tuple(one[which] for one in self.stages), self.labels[kind][which].long()


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


def compare(network: Net, seen: Seen, found: Confusion) -> None:
    """Count what the network makes of photos against their true masks."""
    network.head.eval()
    with torch.inference_mode():
        for stages, size, truth in seen:
            logits = F.interpolate(network.logits(stages, size), size=truth.shape, mode="bilinear")
            found.update(logits.argmax(1)[0].cpu().numpy().astype(np.uint8), truth)


def measures(found: Confusion, names: list[str]) -> dict[str, float]:
    """Percent: the mean over CLASSES, and each of them."""
    iou = dict(zip(names, (100 * found.measures().iou).tolist(), strict=True))
    chosen = {name: round(iou[name], 1) for name in CLASSES.split(",")}
    return {"miou": round(mean(iou[name] for name in chosen), 2), **chosen}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a line for each number of epochs and kind of masks."""
    lines = ["| epochs | masks | mIoU (each seed) | relative to true masks |", "| --- | --- | --- | --- |"]
    found: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        found.setdefault((row["epochs"], row["masks"]), []).append(row["miou"])
    for (epochs, kind), each in sorted(found.items()):
        true = found.get((epochs, TRUE))
        share = f"{mean(each) / mean(true):.3f}" if true else ""
        lines.append(f"| {epochs} | {kind} | {mean(each):.1f} ({', '.join(f'{one:.1f}' for one in each)}) | {share} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--masks", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--epochs", type=int, nargs="+", default=[24, 48])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pool", type=int, default=10, help="epochs whose crops are kept")
    parser.add_argument("--halves", action="store_true", help="measure on the other half of train, not on val")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    data: Path = options.data
    weights, device = find_weights(None), torch.device(options.device)
    truths = data / "SegmentationClass"
    folders = {TRUE: truths} | {name: Path(folder) for name, folder in (one.split("=", 1) for one in options.masks)}
    names = ["background", *read_card(weights).classes]
    keys = photos(data, "train", 1)
    backbone = load_network(weights)[0].backbone.to(device)

    def photo(key: str) -> Path:
        return data / "JPEGImages" / f"{key}.jpg"

    def new(seed: int) -> Net:
        torch.manual_seed(seed)
        return Net(backbone, "lraspp", len(names)).eval().to(device)

    network = new(0)
    crops = {
        kind: MaskCrops(
            [photo(key) for key in keys],
            [folder / f"{key}.png" for key in keys],
            classes=len(names) - 1,
            crop=SETTINGS.crop,
            sides=SETTINGS.sides,
            seed=0,
            around=backbone.normalisation.mean_level,
        )
        for kind, folder in folders.items()
    }
    pool = Pool(options.out, network, crops, options.pool, device)
    seen = []
    for key in keys if options.halves else photos(data, "val", 1):
        truth = load_mask(truths / f"{key}.png")
        view = resize(decode(photo(key)), with_long_side(truth.shape, SIDE))
        seen.append((network.stages(torch.from_numpy(view)[None]), view.shape[:2], truth))
    everything = range(len(keys))
    parts = [(everything[i::2], seen[1 - i :: 2]) for i in range(2)] if options.halves else [(everything, seen)]
    rows: list[dict[str, Any]] = json.loads(options.json.read_text("utf-8")) if options.json.is_file() else []
    for epochs, seed, kind in product(options.epochs, options.seeds, folders):
        what = {"epochs": epochs, "masks": kind, "seed": seed}
        if any(what.items() <= row.items() for row in rows):
            continue
        losses, found = [], Confusion(len(names))
        for trained, others in parts:
            network = new(seed)
            steps = len(batch_plan(seed, epochs, len(trained), SETTINGS.batch_size))
            losses.append(train(network, pool.batches(kind, epochs, seed, trained), steps))
            compare(network, others, found)
        rows.append({**what, "loss": round(mean(losses), 4), **measures(found, names)})
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        print(rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
