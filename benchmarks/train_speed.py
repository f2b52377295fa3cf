"""How much of a training's time is not its steps: the verbs' images a second beside the bare step's.

    python -m benchmarks.train_speed IMAGES --labels FILE [--photos 160] [--crop 320] [--repeats 2] [--json FILE]

Three things take turns, each in a process of its own, with the same network, batch and precision, over copies of
every k-th photo of IMAGES:

verb   `train-cls` and `reactivate` over all photos once, from JPEG on disk to the last checkpoint, at their defaults
       but for crop, learning rate and held-out photos (none); images a second of the loop, as the verb tells them.
step   forward, loss, backward and descent on one batch that lies ready in memory; as many steps, after two that do not
       count.

Weights are random for `train-cls` and the bundled ones for `reactivate`; the learning rates are near 0. Neither matters
to the time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.recam_step import publish

BATCH = 16
VERBS = ("train-cls", "reactivate")
TARGET = 0.9
"""The share of the bare step's images a second that a verb is to reach."""
ENOUGH = 500
"""Photos from which on that is judged: of few steps the first ones, in which oneDNN prepares, are too large a part."""


def step(options: argparse.Namespace) -> float:
    """Images a second of the bare step of `options.step`."""
    import torch

    from pseudomask.config import ReactivateConfig, TrainClsConfig
    from pseudomask.devices import pick_amp, pick_device
    from pseudomask.networks.checkpoint import load_network
    from pseudomask.networks.network import CamNetwork
    from pseudomask.networks.store import find_weights
    from pseudomask.running.memory import keep_pages
    from pseudomask.training.reactivate import recam_step
    from pseudomask.training.train_cls import bce_step

    keep_pages()
    device = pick_device(options.device)
    amp = pick_amp("auto", device)
    if options.step == "train-cls":
        network, loss_of = CamNetwork(options.classes), bce_step
        network.backbone.freeze(TrainClsConfig.freeze)
    else:
        network, loss_of = load_network(find_weights(None))[0], recam_step(1.0)
        network.backbone.freeze(ReactivateConfig.freeze)
    network.on(device).train()
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-9, weight_decay=1e-4)
    images = torch.randn(BATCH, 3, options.crop, options.crop, device=device).to(memory_format=torch.channels_last)
    tags = torch.zeros(BATCH, network.n_classes, device=device)
    tags[:, :2] = 1
    steps, started = options.photos // BATCH, 0.0
    for i in range(-2, steps):
        if i == 0:
            started = time.perf_counter()
        with torch.autocast(device.type, amp, enabled=amp is not None):
            loss, _ = loss_of(network, images, tags)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        float(loss.detach())  # waits for a GPU
    return steps * BATCH / (time.perf_counter() - started)


def step_apart(options: argparse.Namespace, verb: str, classes: int) -> float:
    command = [sys.executable, "-m", "benchmarks.train_speed", str(options.images), "--labels", str(options.labels)]
    command += ["--photos", str(options.photos), "--crop", str(options.crop), "--device", options.device]
    command += ["--step", verb, "--classes", str(classes)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def whole(options: argparse.Namespace, verb: str, room: Path, backbone: Path, weights: Path) -> float:
    """Images a second that the verb tells of its loop."""
    command = [sys.executable, "-m", "pseudomask", verb, str(room / "photos"), str(room / "run"), "--overwrite"]
    command += [
        "--labels",
        str(room / "labels.csv"),
        "--epochs",
        "1",
        "--batch-size",
        str(BATCH),
        "--crop",
        str(options.crop),
    ]
    command += ["--val-fraction", "0", "--lr", "1e-9", "--lr-head", "1e-9", "--device", options.device, "--json"]
    command += ["--backbone-weights", str(backbone)] if verb == "train-cls" else ["--weights", str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return float(json.loads(done.stdout)["speed"].split()[0])


def copy_photos(options: argparse.Namespace, room: Path) -> int:
    """Fill room/photos and room/labels.csv with `options.photos` tagged photos; the number of classes."""
    from pseudomask.config import LabelOptions
    from pseudomask.data.collection import collect

    found = collect(options.images, LabelOptions(labels=options.labels))
    tags = found.tags or {}
    tagged = [item for item in found.items if item.key in tags]
    chosen = tagged[:: max(1, len(tagged) // options.photos)][: options.photos]
    lines = ["filename,labels"]
    (room / "photos").mkdir()
    for i in range(options.photos):  # where there are fewer, they come again
        item = chosen[i % len(chosen)]
        name = f"{i}{item.path.suffix}"
        shutil.copy(item.path, room / "photos" / name)
        lines.append(f"{name},{';'.join(found.classes[c] for c in tags[item.key])}")
    (room / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len({c for item in chosen for c in tags[item.key]})


def compare(options: argparse.Namespace, room: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import save_file
    from torchvision.models import resnet50

    from pseudomask.networks.store import find_weights

    classes = copy_photos(options, room)
    backbone = room / "backbone.safetensors"
    save_file(resnet50().state_dict(), backbone)
    found: dict[str, dict[str, list[float]]] = {verb: {"verb": [], "step": []} for verb in VERBS}
    for turn in range(options.repeats):
        for verb in VERBS:
            found[verb]["step"].append(step_apart(options, verb, classes))
            found[verb]["verb"].append(whole(options, verb, room, backbone, find_weights(None)))
            shown = {what: round(values[-1], 2) for what, values in found[verb].items()}
            print(f"{turn + 1}/{options.repeats} {verb}: {shown} images a second", file=sys.stderr)
    shares = {
        verb: statistics.median(a / b for a, b in zip(one["verb"], one["step"], strict=True))
        for verb, one in found.items()
    }
    return {
        "settings": {"photos": options.photos, "batch": BATCH, "crop": options.crop, "device": options.device},
        "torch": torch.__version__,
        "images_per_second": found,
        "share": shares,
        "target": {"share": TARGET, "met": min(shares.values()) >= TARGET if options.photos >= ENOUGH else None},
    }


def table(found: dict[str, Any]) -> list[str]:
    lines = [
        ", ".join(f"{name} {value}" for name, value in found["settings"].items()),
        "",
        "| verb | images a second | of the bare step | share |",
        "|---|---:|---:|---:|",
    ]
    for verb, one in found["images_per_second"].items():
        ours, bare = statistics.median(one["verb"]), statistics.median(one["step"])
        lines.append(f"| {verb} | {ours:.2f} | {bare:.2f} | {found['share'][verb]:.2f} |")
    verdict = {True: "met", False: "missed", None: f"not judged by fewer than {ENOUGH} photos"}[found["target"]["met"]]
    return [*lines, "", f"target: at least {TARGET}: {verdict}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=160)
    parser.add_argument("--crop", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", choices=VERBS, help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(step(options))
        return
    with tempfile.TemporaryDirectory(prefix="pseudomask-training-") as room:
        found = compare(options, Path(room))
    publish(table(found), found, options.json)


if __name__ == "__main__":
    main()
