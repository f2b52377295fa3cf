"""How fast `extract` is: beside a loop shaped like the references', and beside the backbone alone.

    python -m benchmarks.extract_speed IMAGES --labels FILE [--photos 48] [--repeats 3] [--device cuda] [--method recam]
        [--copies 1] [--json FILE]

Three processes take turns over the same photos, copies of every k-th one of IMAGES, so that shapes mix as there:

reference  one photo at a time, float32, one call a scale with its mirror, maps at stride 4 and at full size, both
           stored uncompressed, and the mask (as ReCAM's make_recam); over a part of the photos, as it is slow.
extract    the verb in a process of its own, start-up and all, from JPEG on disk to PNG on disk, at its defaults but
           for the scales, which are the reference's.
flow       that same process from its first photo to its last file: what longer runs come near to.
limit      the backbone alone, folded, in the best precision, over batches that lie ready in memory; a process of its
           own, which asks for memory as the verb does (`running.memory`).

Seconds a photo, as medians over the repeats with their spread; ratios are of medians. Masks are compared too.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.recam_step import publish
from benchmarks.seeds import DEFAULTS
from pseudomask.config import ExtractConfig
from pseudomask.data.collection import Collection, align_tags, collect
from pseudomask.data.pixels import IMAGENET
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.extracting.loading import load
from pseudomask.extracting.ordering import batches, windowed
from pseudomask.extracting.photos import Photos, header_size
from pseudomask.maps import weight_rule
from pseudomask.maps.passes import PRESETS
from pseudomask.masks import load_mask, save_mask
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights
from pseudomask.running.layout import RECORD
from pseudomask.running.memory import keep_pages

SCALES = PRESETS["full"].text
FEWER = ("balanced", "fast")
TARGETS = {"faster than the reference": 6.0, "share of the limit": 0.90}


def reference(
    network: CamNetwork, weights: Tensor, collection: Collection, threshold: float, out: Path, count: int
) -> list[Path]:
    """The loop of the references over the first `count` photos: files in `out`; returns the masks."""
    device = weights.device
    masks = []
    for item in collection.items[:count]:
        image = Image.open(item.path).convert("RGB")
        w, h = image.size
        tags = torch.tensor((collection.tags or {})[item.key], device=device)
        coarse = torch.zeros(len(tags), -(-h // 4), -(-w // 4), device=device)
        full = torch.zeros(len(tags), 16 * -(-h // 16), 16 * -(-w // 16), device=device)
        for scale in PRESETS["full"].scales:
            seen = image.resize((round(w * scale), round(h * scale)), Image.Resampling.BICUBIC)
            x = torch.from_numpy(IMAGENET.normalise(np.asarray(seen)).copy()).to(device)
            with torch.no_grad():
                features = network.backbone(torch.stack([x, x.flip(-1)]))
                maps = torch.relu(F.conv2d(features, weights))[:, tags]
            both = (maps[0] + maps[1].flip(-1))[None]
            coarse += F.interpolate(both, coarse.shape[1:], mode="bilinear", align_corners=False)[0]
            full += F.interpolate(both, full.shape[1:], mode="bilinear", align_corners=False)[0]
        full = full[:, :h, :w]
        coarse, full = (m / (m.amax((1, 2), keepdim=True) + 1e-5) for m in (coarse, full))
        np.savez(out / f"{item.key}.npz", keys=tags.cpu(), cam=coarse.cpu(), high_res=full.cpu())
        planes = torch.cat([full.new_full((1, h, w), threshold), full])
        labels = torch.cat([tags.new_zeros(1), tags + 1])
        mask = labels[planes.argmax(0)].cpu().numpy().astype(np.uint8)
        masks.append(out / f"{item.key}.png")
        save_mask(masks[-1], mask)
    return masks


def ready(config: ExtractConfig, collection: Collection, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """The network's inputs, batched as `extract` batches them, mirrored ones included: (2B, 3, h, w) each."""
    paths = [item.path for item in collection.items]
    order = list(windowed(range(len(paths)), lambda i: header_size(paths[i]), config.max_side))
    photos = Photos(
        paths,
        order,
        scales=PRESETS["full"].scales,
        max_side=config.max_side,
        max_pixels=config.max_pixels,
        allow_truncated=False,
        keep_whole=False,
    )
    found = []
    for batch in batches(load(photos, workers=pick_workers(-1), device=device), 4 if device.type == "cpu" else 16):
        for s in range(len(batch[0].views)):
            x = IMAGENET.to_input(torch.stack([photo.views[s] for photo in batch]), dtype)
            found.append(torch.cat([x, x.flip(-1)]).to(device, memory_format=torch.channels_last))
    return found


def timed(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def alone(network: CamNetwork, inputs: list[Tensor]) -> None:
    with torch.inference_mode():
        for x in inputs:
            network.backbone(x, pyramid=False)


def limit(options: argparse.Namespace, room: Path) -> float:
    """Seconds of all batches, in this process, after one pass in which libraries choose their algorithms."""
    keep_pages()
    device = pick_device(options.device)
    dtype = pick_amp("auto", device) or torch.float32
    network, card = load_network(options.weights)
    network = network.for_maps(device, dtype)
    config = ExtractConfig(images=room / "photos", out=room / "out", labels=options.labels)
    inputs = ready(config, align_tags(collect(room / "photos", config), card.classes), device, dtype)
    alone(network, inputs)
    return timed(lambda: alone(network, inputs), device)


def limit_apart(options: argparse.Namespace, room: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.extract_speed", str(options.images), "--labels", str(options.labels)]
    command += ["--weights", str(options.weights), "--device", options.device, "--room", str(room)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def agreement(first: list[Path], second: list[Path]) -> float:
    """Share of equal pixels over pairs of masks."""
    pairs = [(load_mask(a), load_mask(b)) for a, b in zip(first, second, strict=True)]
    return sum(int((a == b).sum()) for a, b in pairs) / sum(a.size for a, _ in pairs)


def verb(options: argparse.Namespace, room: Path, out: str, *more: str) -> Path:
    """`extract` over the copies, as a process."""
    command = [sys.executable, "-m", "pseudomask", "extract", "--method", options.method, "--refine", "none"]
    command += ["--tta", "full", "--overwrite"]
    command += [str(room / "photos"), str(room / out), "--labels", str(options.labels), "--device", options.device]
    command += ["--weights", str(options.weights), *more]  # of a flag given twice the last counts
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return room / out


def multiply(room: Path, labels: Path, copies: int) -> Path:
    """Copies of the photos below `room`, and a table of their labels: a GPU is through with a few before it is warm."""
    with labels.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    found = [head]
    for name, *rest in rows:
        for i in range(copies) if (room / "photos" / name).exists() else ():
            copy = f"{i}-{name}"
            shutil.copy(room / "photos" / name, room / "photos" / copy)
            found.append([copy, *rest])
        (room / "photos" / name).unlink(missing_ok=True)
    with (room / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(found)
    return room / "labels.csv"


def compare(options: argparse.Namespace, room: Path) -> dict[str, Any]:
    (room / "photos").mkdir()
    (room / "reference").mkdir()
    files = sorted(path for path in options.images.iterdir() if path.is_file())
    for path in files[:: max(1, len(files) // options.photos)][: options.photos]:
        shutil.copy(path, room / "photos")
    if options.copies > 1:
        options.labels = multiply(room, options.labels, options.copies)
    device = pick_device(options.device)
    dtype = pick_amp("auto", device) or torch.float32
    network, card = load_network(options.weights)
    config = ExtractConfig(images=room / "photos", out=room / "out", labels=options.labels)
    collection = align_tags(collect(room / "photos", config), card.classes)
    plain = network.to(device).eval()
    rule = weight_rule(DEFAULTS, card)
    weights = plain.map_weights(rule).detach()
    n, some = len(collection.items), min(options.reference, len(collection.items))
    seconds: dict[str, list[float]] = {"reference": [], "extract": [], "flow": [], "limit": []}
    for turn in range(options.repeats):
        masks: list[Path] = []

        def loop(masks: list[Path] = masks) -> None:
            masks += reference(plain, weights, collection, _threshold(card, rule), room / "reference", some)

        seconds["limit"].append(limit_apart(options, room) / n)
        seconds["extract"].append(timed(lambda: verb(options, room, "out"), torch.device("cpu")) / n)
        seconds["flow"].append(_flow(room / "out") / n)
        seconds["reference"].append(timed(loop, device) / some)
        print(f"{turn + 1}/{options.repeats} { ({k: round(v[-1], 3) for k, v in seconds.items()}) }", file=sys.stderr)
    ours = [room / "out" / f"{item.key}.png" for item in collection.items]
    exact = verb(options, room, "exact", "--amp", "off", "--limit", str(some))
    fewer = {name: timed(lambda name=name: verb(options, room, name, "--tta", name), device) / n for name in FEWER}
    return {
        "photos": n,
        "reference_photos": some,
        "method": options.method,
        "device": str(device),
        "precision": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "seconds": {k: {"median": statistics.median(v), "all": v} for k, v in seconds.items()},
        "equal_pixels": {
            "reference": agreement(ours[:some], masks),
            "float32": agreement(ours[:some], [exact / path.name for path in ours[:some]]),
        },
        "fewer_passes": fewer,
    }


def _flow(out: Path) -> float:
    timings: dict[str, float] = json.loads((out / RECORD).read_text(encoding="utf-8"))["timings"]
    return timings["extract"]


def _threshold(card: Card, rule: str) -> float:
    return card.thresholds.get(rule, 0.2)


def table(found: dict[str, Any]) -> list[str]:
    middle = {name: one["median"] for name, one in found["seconds"].items()}
    lines = [
        f"{found['method']}, {found['photos']} photos ({found['reference_photos']} for the reference), "
        f"{found['device']}, {found['precision']}, {found['cores']} cores, torch {found['torch']}",
        "",
        "| | photos a second | seconds a photo (min to max) | reference = 1 | limit = 1 |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, one in found["seconds"].items():
        median, low, high = one["median"], min(one["all"]), max(one["all"])
        lines.append(
            f"| {name} | {1 / median:.2f} | {median:.3f} ({low:.3f} to {high:.3f}) "
            f"| {middle['reference'] / median:.2f} | {middle['limit'] / median:.2f} |"
        )
    equal = found["equal_pixels"]
    for name, seconds in found["fewer_passes"].items():
        lines.append(
            f"| extract --tta {name}, once | {1 / seconds:.2f} | {seconds:.3f} "
            f"| {middle['reference'] / seconds:.2f} | {middle['limit'] / seconds:.2f} |"
        )
    lines += ["", f"pixels equal to the reference's {equal['reference']:.2%}, to float32's {equal['float32']:.2%}"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--reference", type=int, default=6, help="photos for the reference's loop")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--method", choices=("cam", "recam", "cpmc"), default="recam", help="of the verb")
    parser.add_argument("--copies", type=int, default=1, help="of each photo, whose labels are then a CSV table")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--room", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.weights = find_weights(options.weights)
    if options.room:
        print(limit(options, options.room))
        return
    with tempfile.TemporaryDirectory(prefix="pseudomask-speed-") as room:
        found = compare(options, Path(room))
    publish(table(found), found | {"targets": TARGETS}, options.json)


if __name__ == "__main__":
    main()
