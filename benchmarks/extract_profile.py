"""Where the time of a photo goes: in a loop shaped like the references', and in `extract`, step by step.

    python -m benchmarks.extract_profile IMAGES --labels FILE [--photos 16] [--json FILE]

All steps are done one after the other in this process, so that each can be timed, on every k-th photo of IMAGES in the
order in which `extract` takes them, with eight passes each; `extract` itself does the steps marked with a star in other
processes and threads, beside the network. Seconds a photo: means over the photos, after one round that does not count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.recam_step import publish
from benchmarks.seeds import DEFAULTS
from pseudomask.config import ExtractConfig
from pseudomask.data.collection import align_tags, collect
from pseudomask.data.decoding import decode
from pseudomask.data.pixels import IMAGENET, resize
from pseudomask.devices import pick_amp
from pseudomask.extracting.ordering import windowed
from pseudomask.extracting.photos import header_size, view_sizes
from pseudomask.maps import weight_rule
from pseudomask.maps.cam import present_class_maps
from pseudomask.maps.normalise import normalise_maps
from pseudomask.maps.passes import PRESETS
from pseudomask.masks import save_mask
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights
from pseudomask.running.memory import keep_pages
from pseudomask.scores import ScoreMap, quantise, save_scores

SCALES = PRESETS["full"].scales
STEPS = {
    "decode": "decode the JPEG *",
    "resize": "resize to four sizes *",
    "normalise": "normalise, mirror",
    "backbone": "backbone",
    "maps": "maps, resampled and added",
    "scores": "write scores *",
    "mask": "mask, and write it *",
}


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started


def reference(clock: Clock, network: CamNetwork, weights: Tensor, path: Path, tags: list[int], out: Path) -> None:
    """Float32, one call a size, maps of all classes at two resolutions, stored uncompressed (ReCAM's make_recam)."""
    with clock.step("decode"):
        image = decode(path)
    h, w = image.shape[:2]
    coarse = torch.zeros(len(tags), -(-h // 4), -(-w // 4))
    full = torch.zeros(len(tags), h, w)
    for size in view_sizes((h, w), SCALES, max(h, w)):
        with clock.step("resize"):
            pillow = Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)
            seen = torch.from_numpy(np.array(pillow))
        with clock.step("normalise"):
            x = IMAGENET.to_input(seen[None])
            x = torch.cat([x, x.flip(-1)])
        with clock.step("backbone"):
            features = network.backbone(x, pyramid=False).last
        with clock.step("maps"):
            maps = torch.relu(F.conv2d(features, weights))[:, tags]
            both = (maps[0] + maps[1].flip(-1))[None]
            coarse += F.interpolate(both, coarse.shape[1:], mode="bilinear", align_corners=False)[0]
            full += F.interpolate(both, full.shape[1:], mode="bilinear", align_corners=False)[0]
    with clock.step("maps"):
        coarse, full = (m / (m.amax((1, 2), keepdim=True) + 1e-5) for m in (coarse, full))
    with clock.step("scores"):
        np.savez(out / "one.npz", keys=np.array(tags), cam=coarse.numpy(), high_res=full.numpy())
    with clock.step("mask"):
        labels = np.array([0, *(tag + 1 for tag in tags)], np.uint8)
        save_mask(out / "one.png", labels[torch.cat([torch.full((1, h, w), 0.3), full]).argmax(0).numpy()])


def ours(
    clock: Clock, network: CamNetwork, weights: Tensor, path: Path, tags: list[int], out: Path, amp: torch.dtype | None
) -> None:
    """What `extract --tta full` does of one photo."""
    with clock.step("decode"):
        image = decode(path)
    size = (image.shape[0], image.shape[1])
    index = torch.tensor([tags, tags])
    grid = (-(-size[0] // 4), -(-size[1] // 4))
    total = torch.zeros(1, len(tags), *grid)
    for view in view_sizes(size, SCALES, 1024):
        with clock.step("resize"):
            seen = torch.from_numpy(resize(image, view))
        with clock.step("normalise"):
            x = IMAGENET.to_input(seen[None], amp, (False, True))
        with clock.step("backbone"), torch.autocast("cpu", amp, enabled=amp is not None):
            features = network.backbone(x, pyramid=False).last
        with clock.step("maps"):
            straight, back = present_class_maps(features, weights, index).chunk(2)
            total += F.interpolate(straight + back.flip(-1), grid, mode="bilinear", align_corners=False)
    with clock.step("maps"):
        values = normalise_maps(total)[0].numpy()
    with clock.step("scores"):
        stored = quantise(ScoreMap(tuple(tag + 1 for tag in tags), values, size, 4), 8)
        save_scores(out / "one.npz", stored, bits=8)
    with clock.step("mask"):
        save_mask(out / "one.png", stored.mask(0.3))


@torch.inference_mode()
def measure(options: argparse.Namespace, out: Path) -> dict[str, dict[str, float]]:
    """Seconds a photo by kind and step."""
    plain, card = load_network(find_weights(None))
    folded, _ = load_network(find_weights(None))
    amp = pick_amp("auto", torch.device("cpu"))
    plain, folded = plain.on(torch.device("cpu")).eval(), folded.for_maps(torch.device("cpu"), amp)
    weights = plain.map_weights(weight_rule(DEFAULTS, card))
    config = ExtractConfig(images=options.images, out=out, labels=options.labels)
    items = align_tags(collect(options.images, config), card.classes)
    chosen = items.items[:: max(1, len(items.items) // options.photos)][: options.photos]
    paths = [item.path for item in chosen]
    tags = [sorted((items.tags or {})[item.key]) for item in chosen]
    order = list(windowed(range(len(paths)), lambda i: header_size(paths[i]), config.max_side))
    found = {}
    for kind in ("reference-shaped loop", "extract, float32, not folded", "extract"):
        for warm in (True, False):
            clock = Clock()
            for place in order[:2] if warm else order:
                if kind == "reference-shaped loop":
                    reference(clock, plain, weights, paths[place], tags[place], out)
                else:
                    last = kind == "extract"
                    network, precision = (folded, amp) if last else (plain, None)
                    ours(clock, network, weights, paths[place], tags[place], out, precision)
        found[kind] = {name: clock.seconds[name] / len(order) for name in STEPS}
    return found


def table(found: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| step | " + " | ".join(f"{kind} | share" for kind in found) + " |", "|---|" + "---:|" * 2 * len(found)]
    for name, title in STEPS.items():
        cells = (f"{one[name]:.4f} | {one[name] / sum(one.values()):.1%}" for one in found.values())
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return [*lines, "| all | " + " | ".join(f"{sum(one.values()):.4f} | " for one in found.values()) + " |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_pages()
    with tempfile.TemporaryDirectory(prefix="pseudomask-profile-") as out:
        found = measure(options, Path(out))
    document = {"photos": options.photos, "torch": torch.__version__, "seconds": found}
    publish(table(found), document, options.json)


if __name__ == "__main__":
    main()
