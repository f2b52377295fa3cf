"""Trains the context part of a bundled boundary head: self-training on extract's own masks, from tags alone.

    python -m benchmarks.train_context DATA CACHE HEAD OUT [--split train_aug] [--rounds 2]

DATA is laid out like PASCAL VOC: JPEGImages, labels.csv, classes.txt, ImageSets; no mask is read. HEAD is a boundary
head of the bundled weights that knows their classes; OUT is the same head with the new part. The frozen backbone sees
each photo once, at its own size, and what is needed of it stays in CACHE (6 MB a photo). The labels are the confident
pixels of extract's default masks, made with HEAD in the first round and with the head so far in the next ones, each
after a CRF at half the photo's size; all classes are rivals, not only those of the photo's tags. An interrupted call
goes on with the photos that it has.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.seeds import DEFAULTS, tagged_photos
from benchmarks.train_boundaries import CRF_SIDE, views_of
from pseudomask.config import CrfOptions
from pseudomask.data.decoding import decode
from pseudomask.data.images import ImageItem
from pseudomask.devices import pick_amp
from pseudomask.maps import make_method
from pseudomask.maps.cams.lpcam import bundled_for
from pseudomask.maps.multiscale import multiscale_maps, see
from pseudomask.maps.passes import PRESETS
from pseudomask.networks.checkpoint import load_network, read_card, save_network
from pseudomask.networks.context import Context
from pseudomask.networks.edge_weights import load_edges, load_head
from pseudomask.networks.edges import EDGE_STRIDE, EdgeHead, EdgeNetwork, seen_in
from pseudomask.networks.store import find_weights
from pseudomask.refining.crf import Crf
from pseudomask.refining.refiner import Refined
from pseudomask.refining.walk import Walk
from pseudomask.running.record import hash_file, package_versions
from pseudomask.scores import ScoreMap
from pseudomask.training.confident import confident_labels, confident_thresholds

RATE = 3e-3
DECAY = 1e-3
BATCH = 4
IGNORE = 255
DEVICE = torch.device("cpu")


class Cache:
    """What extract sees of photos: the context part's input, the seeds, HEAD's logits. Made once."""

    def __init__(self, folder: Path, items: Sequence[ImageItem], tags: Mapping[str, tuple[int, ...]]) -> None:
        self.folder, self.items, self.tags = folder, {item.key: item for item in items}, tags
        folder.mkdir(parents=True, exist_ok=True)

    def file(self, key: str) -> Path:
        return self.folder / f"{key}.pt"

    def read(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = torch.load(self.file(key), mmap=True)
        return found

    @torch.inference_mode()
    def fill(self, weights: Path, head_file: Path) -> None:
        network, card = load_network(weights)
        chosen = replace(DEFAULTS, method="cpmc", cam="lpcam", lpcam_prototypes=bundled_for(network, card))
        method = make_method(chosen, card)
        amp, head, passes = pick_amp("auto", DEVICE), load_head(head_file), PRESETS["fast"]
        network = network.for_maps(DEVICE, amp)
        missing = [item for key, item in self.items.items() if not self.file(key).exists()]
        for n, item in enumerate(missing):
            photo, tags = decode(item.path), self.tags[item.key]
            size = (photo.shape[0], photo.shape[1])
            views = views_of(photo, passes.scales)
            seen = see(network, method, views[0], (False,), amp=amp, pyramid=True)
            maps = multiscale_maps(
                network, method, views, torch.tensor([tags]), torch.ones(1, len(tags), dtype=torch.bool),
                grid=(-(-size[0] // EDGE_STRIDE), -(-size[1] // EDGE_STRIDE)), mirrored=passes.mirrored, amp=amp,
                seen={0: seen},
            )[0]  # fmt: skip
            held = {"x": Context.gathered(seen)[0].bfloat16(), "seeds": maps.half(), "tags": tags, "size": size}
            torch.save(held | {"logits": seen_in(head, seen, amp)[0].half()}, self.file(item.key).with_suffix(".part"))
            self.file(item.key).with_suffix(".part").rename(self.file(item.key))
            if n % 20 == 0:
                print(f"features: {n + 1} of {len(missing)} photos", file=sys.stderr, flush=True)


def on_grid(logits: Tensor, height: int, width: int) -> Tensor:
    """Logits at stride 16 → at stride 4, cut to the photo, as `EdgeHead.see` does."""
    size = [4 * side for side in logits.shape[-2:]]
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[..., :height, :width]


def walked(walk: Walk, held: Mapping[str, Any], context: Context | None) -> Refined:
    """The photo's seeds, joined with what the head knows of the classes, after the walk."""
    known = held["logits"].float()
    if context is not None:
        with torch.inference_mode():
            around = on_grid(context.of_gathered(held["x"].float()[None]), *known.shape[1:])[0]
        known = torch.cat([known[:1], (known[1:] + around) / 2])
    scores = ScoreMap(tuple(tag + 1 for tag in held["tags"]), held["seeds"].float().numpy(), held["size"], EDGE_STRIDE)
    return replace(walk, known=known).refine(np.empty(0), scores, 0.5)


def label(cache: Cache, key: str, walk: Walk, context: Context | None) -> np.ndarray:
    """Confident labels at every fourth pixel, uint8, 255 ignore."""
    made, photo = walked(walk, cache.read(key), context), decode(cache.items[key].path)
    crf = Crf.of(CrfOptions(crf_side=CRF_SIDE))
    labels = confident_labels(photo, made.scores, *confident_thresholds(made.threshold), crf)
    at = [np.minimum(np.arange(EDGE_STRIDE // 2, n + EDGE_STRIDE // 2, EDGE_STRIDE), n - 1) for n in labels.shape]
    return labels[np.ix_(*at)]


def train(cache: Cache, labels: Mapping[str, np.ndarray], classes: int, epochs: int, seed: int) -> Context:
    torch.manual_seed(seed)
    rng, keys = np.random.default_rng(seed), sorted(labels)
    context = Context([cache.read(keys[0])["x"].shape[0]], classes).train()
    optimizer = torch.optim.AdamW(context.parameters(), lr=RATE, weight_decay=DECAY)
    counts = sum(np.bincount(one[one != IGNORE], minlength=1 + classes) for one in labels.values())
    weights = torch.tensor((counts / counts.sum()).clip(1e-3) ** -0.5, dtype=torch.float32)
    per_epoch = len(keys) // BATCH
    for step in range(epochs * per_epoch):
        if step % per_epoch == 0:
            order = rng.permutation(len(keys))
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / (epochs * per_epoch)) ** 0.9
        optimizer.zero_grad()
        told = 0.0
        for n in order[step % per_epoch * BATCH :][:BATCH]:
            x, wanted = cache.read(keys[n])["x"].float()[None], torch.from_numpy(labels[keys[n]].astype(np.int64))[None]
            found = on_grid(
                context.of_gathered(x.flip(-1)).flip(-1) if rng.random() < 0.5 else context.of_gathered(x),
                *wanted.shape[1:],
            )
            loss = F.cross_entropy(found, wanted, weight=weights, ignore_index=IGNORE)
            if loss.isfinite():  # not so where no pixel is confident
                (loss / BATCH).backward()
                told += loss.item() / BATCH
        torch.nn.utils.clip_grad_norm_(context.parameters(), 5.0)
        optimizer.step()
        if step % 50 == 49:
            print(f"step {step + 1} of {epochs * per_epoch}: {told:.3f}", file=sys.stderr, flush=True)
    return context.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("head", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="train_aug")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only the first N photos (a trial)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same sums on every machine
    weights, started = find_weights(None), time.monotonic()
    card = read_card(options.head)
    collection = tagged_photos(options.data, options.split, card.classes, options.limit)
    cache = Cache(options.cache, collection.items, dict(collection.tags or {}))
    cache.fill(weights, options.head)
    walk = Walk(affinity=options.head, by_class=True)
    context: Context | None = None
    for number in range(options.rounds):
        labels = {}
        for n, key in enumerate(cache.items):
            file = options.cache / f"{key}.{number}.npy"
            if not file.exists():
                np.save(file, label(cache, key, walk, context))
            labels[key] = np.load(file)
            if n % 100 == 99:
                print(f"round {number + 1}: labels of {n + 1} photos", file=sys.stderr, flush=True)
        context = train(cache, labels, len(card.classes), options.epochs, options.seed)
    network, _ = load_edges(options.head, weights)
    head = EdgeHead(network.backbone, len(card.classes), context=True)
    head.load_state_dict(network.head.state_dict(), strict=False)
    assert context is not None
    assert head.context is not None
    head.context.load_state_dict(context.state_dict())
    trained = EdgeNetwork(network.backbone, len(card.classes), context=True)
    trained.head = head
    facts = {
        "photos": len(collection.items), "photos_per_class": collection.tag_counts(),
        "head": {"file": options.head.name, "sha256": hash_file(options.head)}, "labels": "extract's default masks",
        "rounds": options.rounds, "epochs": options.epochs, "batch_size": BATCH, "lr": RATE, "seed": options.seed,
    }  # fmt: skip
    card = replace(
        card,
        training=card.training | {"context": facts},
        versions=package_versions(),
        notes="made by benchmarks/train_boundaries.py and benchmarks/train_context.py from tags alone",
    )
    save_network(options.out, trained, card)
    print(f"{options.out}: {options.out.stat().st_size / 2**10:.0f} KiB, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
