"""What one training step costs: plain classification, ReCAM, and ReCAM with the 5-D product.

    python -m benchmarks.recam_step --batch-size 16 --classes 80 --crop 320 --backbone resnet50

Every measurement is a fresh process, the variants take turns, and medians are compared. See README.md
beside this file for how memory is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# This process imports no torch: it would otherwise hold memory that the measured ones need.
if TYPE_CHECKING:
    from torch import Tensor

    from pseudomask.networks.network import CamNetwork

Job = Callable[[argparse.Namespace], dict[str, Any]]

TARGET = 1.1
"""The most that ReCAM's step may take of the plain step's peak memory."""

VARIANTS = {
    "plain": "classification only",
    "recam": "ReCAM",
    "naive": "ReCAM, 5-D product",
}


def naive_step(network: CamNetwork, images: Tensor, tags: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """ReCAM's loss with features pooled for every class through a (B, C, D, h, w) tensor."""
    import torch

    from pseudomask.maps.normalise import normalise_maps
    from pseudomask.training.losses import classification_loss

    assert network.reclassifier is not None
    seen = network.backbone(images, pyramid=False)
    features = seen.last  # (B, D, h, w)
    maps = torch.relu(torch.nn.functional.conv2d(features, network.classifier.weight))  # (B, C, h, w)
    product = features.unsqueeze(1) * normalise_maps(maps).unsqueeze(2)  # (B, C, D, h, w)
    pooled = product.flatten(3).mean(3)  # (B, C, D)
    image, present = tags.nonzero(as_tuple=True)
    with torch.autocast(features.device.type, enabled=False):
        logits = pooled[image, present].float() @ network.reclassifier.weight.flatten(1).T
    losses = torch.nn.functional.cross_entropy(logits, present, reduction="none")
    sce = (losses / tags.sum(1)[image]).sum() / len(tags)
    return classification_loss(network.logits(seen), tags) + sce, {}


def product_bytes(options: argparse.Namespace, dim: int) -> int:
    """Bytes of one (B, C, D, h, w) tensor in float32."""
    side = -(-options.crop // 16)
    return 4 * options.batch_size * options.classes * dim * side * side


def resident() -> int:
    """Bytes that this process holds now; where the system hides it, the most that it ever held."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc: give back what is free, lest the step hide in it
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak()
    return pages * resource.getpagesize()


def peak() -> int:
    """The most that this process held (since `forget_peak`), in bytes."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def forget_peak() -> None:
    """Make Linux count the peak from here, so that what importing and building took is left out."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak then counts from the process's start


def available() -> int | None:
    """Bytes that new work may take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Two steps in this process, the second one timed: {seconds, memory, loss, precision} or {skipped}."""
    import torch

    from pseudomask.devices import pick_amp
    from pseudomask.networks.network import CamNetwork
    from pseudomask.training.reactivate import recam_step
    from pseudomask.training.train_cls import bce_step

    torch.manual_seed(0)
    device = torch.device("cpu")
    amp = pick_amp(options.amp, device)
    network = CamNetwork(options.classes, options.backbone, reactivated=True).on(device).train()
    network.backbone.freeze("stem")
    step = {"plain": bce_step, "recam": recam_step(1.0), "naive": naive_step}[options.variant]
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3, weight_decay=1e-4)

    def batch(size: int, crop: int) -> tuple[Tensor, Tensor]:
        images = torch.randn(size, 3, crop, crop).to(memory_format=torch.channels_last)
        tags = torch.zeros(size, options.classes)
        return images, tags.scatter_(1, torch.rand_like(tags).topk(options.tags).indices, 1)

    def descend(images: Tensor, tags: Tensor) -> float:
        with torch.autocast(device.type, amp, enabled=amp is not None):
            loss, _parts = step(network, images, tags)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    images, tags = batch(options.batch_size, options.crop)
    # Forward makes the product, backward its two gradients; at most two of the three live together.
    needed = options.plain_memory + 2 * product_bytes(options, network.backbone.dim)
    free = available()
    if options.variant == "naive" and free is not None and needed > 0.9 * free:
        return {"skipped": f"needs about {gib(needed)}, {gib(free)} are free"}
    descend(*batch(1, 32))  # the libraries' code is now in memory and is not counted
    before = resident()
    forget_peak()
    loss = descend(images, tags)
    started = time.perf_counter()
    descend(images, tags)
    seconds = time.perf_counter() - started
    precision = "float32" if amp is None else str(amp).removeprefix("torch.")
    return {"seconds": seconds, "memory": peak() - before, "loss": loss, "precision": precision}


def in_fresh_process(options: argparse.Namespace, variant: str, plain_memory: int) -> dict[str, Any]:
    """`measure` in a new Python."""
    command = [sys.executable, "-m", "benchmarks.recam_step", "--variant", variant]
    for name in ("batch_size", "classes", "crop", "backbone", "tags", "amp"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    command += ["--plain-memory", str(plain_memory)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        if variant == "naive":  # most likely killed for its memory
            return {"skipped": f"its process ended with code {done.returncode}"}
        sys.exit(f"the {variant} step failed with code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All variants in turn, `repeats` times; the document that --json writes."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for turn in range(options.repeats):
        for name in VARIANTS:
            if runs[name] and "skipped" in runs[name][0]:
                continue
            plain = runs["plain"][0]["memory"] if runs["plain"] else 0
            runs[name].append(in_fresh_process(options, name, plain))
            print(f"{turn + 1}/{options.repeats} {VARIANTS[name]}", file=sys.stderr)
    medians = {name: summary(found) for name, found in runs.items()}
    ratios = {
        name: {what: medians[name][what] / medians["plain"][what] for what in ("seconds", "memory")}
        for name in VARIANTS
        if "skipped" not in medians[name]
    }
    settings = ("batch_size", "classes", "crop", "backbone", "tags", "repeats")
    return {
        "schema": 1,
        "settings": {name: getattr(options, name) for name in settings}
        | {"precision": runs["plain"][0]["precision"], "cores": cores()},
        "steps": medians,
        "ratios": ratios,
        "target": {"memory": TARGET, "met": ratios["recam"]["memory"] <= TARGET},
    }


def cores() -> int:
    from pseudomask.running.machine import cores as count

    return count()


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and all values beside them."""
    measured = [one for one in found if "skipped" not in one]
    if len(measured) < len(found):
        return next(one for one in found if "skipped" in one)
    return {
        "seconds": statistics.median(one["seconds"] for one in measured),
        "memory": statistics.median(one["memory"] for one in measured),
        "loss": measured[0]["loss"],
        "all_seconds": [one["seconds"] for one in measured],
        "all_memory": [one["memory"] for one in measured],
    }


def gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


def table(result: dict[str, Any]) -> list[str]:
    """Markdown rows for people."""
    settings = result["settings"]
    lines = [
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items()),
        "",
        "| step | seconds | × plain | peak memory | × plain |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, title in VARIANTS.items():
        one = result["steps"][name]
        if "skipped" in one:
            lines.append(f"| {title} | skipped: {one['skipped']} | | | |")
            continue
        ratio = result["ratios"][name]
        lines.append(
            f"| {title} | {one['seconds']:.2f} | {ratio['seconds']:.2f} "
            f"| {gib(one['memory'])} | {ratio['memory']:.2f} |"
        )
    verdict = "met" if result["target"]["met"] else "missed"
    return [*lines, "", f"target: ReCAM's peak memory at most {TARGET} × plain: {verdict}"]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recam_step", description=__doc__.split("\n")[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--crop", type=int, default=320, help="side of the square input, in pixels")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--tags", type=int, default=2, help="classes that each photo shows")
    parser.add_argument("--amp", choices=["auto", "off", "bf16"], default="auto", help="as in the training verbs")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes for each variant")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--plain-memory", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not 1 <= options.tags <= options.classes:
        parser.error("--tags must be between 1 and --classes")
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    return options


def tell(options: argparse.Namespace, measure: Job, compare: Job, table: Callable[[dict[str, Any]], list[str]]) -> None:
    """One variant, for the process that started this one; or all of them, as a table and a file."""
    if options.variant is not None:
        print(json.dumps(measure(options)))
        return
    result = compare(options)
    publish(table(result), result, options.json)


def publish(lines: Sequence[str], result: object, file: Path | None) -> None:
    """A benchmark's table on stdout, and all that it measured in `file`."""
    print("\n".join(lines))
    if file is not None:
        file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    tell(parse(arguments), measure, compare, table)


if __name__ == "__main__":
    main()
