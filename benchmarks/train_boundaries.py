"""Trains the bundled boundary heads: where classes end, and which place is which class, from tags alone.

    python -m benchmarks.train_boundaries DATA CACHE weights/boundaries_resnet50_voc_animals.safetensors
    python -m benchmarks.train_boundaries DATA CACHE weights/boundaries_resnet50_imagenet.safetensors \\
        --weights imagenet --seeds weights/recam_resnet50_voc_animals.safetensors \\
        --seeds-head weights/boundaries_resnet50_voc_animals.safetensors --boundaries-only --step 0.3

DATA is laid out like PASCAL VOC: JPEGImages, labels.csv, classes.txt, ImageSets/train.txt; no mask is read. What
`train-affinity` does at any size of data is done here so that a CPU needs minutes: the frozen backbone sees each photo
once, at its own size, and the features stay in CACHE (about 15 MB a photo). Labels are those of `train-affinity`, of
CPMC's seeds (`--tta fast`) after a CRF at half the photo's size. The seeds may be those of other weights than the
backbone's (`--seeds`), and walked first with the boundary head of those weights (`--seeds-head`). Each step takes 8
photos, whole for the classes and a window of 192 pixels for the boundaries, half of them mirrored. An interrupted call
goes on with the photos that it has.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.seeds import DEFAULTS, tagged_photos
from pseudomask.config import CrfOptions, WalkOptions
from pseudomask.data.decoding import decode
from pseudomask.data.images import ImageItem
from pseudomask.data.pixels import resize
from pseudomask.devices import pick_amp
from pseudomask.extracting.ordering import by_shape
from pseudomask.extracting.photos import header_size, view_sizes
from pseudomask.maps import make_method
from pseudomask.maps.multiscale import multiscale_maps, see
from pseudomask.maps.passes import PRESETS
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.card import AFFINITY, Card
from pseudomask.networks.checkpoint import load_network, read_card, save_network
from pseudomask.networks.edge_weights import backbone_hash, load_head
from pseudomask.networks.edges import EDGE_STRIDE, EdgeHead, EdgeNetwork, seen_in
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights
from pseudomask.refining.crf import Crf
from pseudomask.refining.walk import Walk
from pseudomask.running.record import hash_file, package_versions
from pseudomask.scores import ScoreMap
from pseudomask.training.confident import confident_labels, confident_thresholds
from pseudomask.training.losses import class_loss
from pseudomask.training.train_affinity import CLASS_RATE, affinity_loss

RADIUS = 10
WINDOW = 48
RATE = 0.1
CRF_SIDE = 256


def views_of(photo: np.ndarray, scales: Sequence[float]) -> list[Tensor]:
    sizes = view_sizes((photo.shape[0], photo.shape[1]), scales, DEFAULTS.max_side)
    return [torch.from_numpy(np.array(resize(photo, one)))[None] for one in sizes]


class Labeller:
    """The confident labels of CPMC's seeds, walked first if there is a head."""

    def __init__(self, weights: Path, head: Path | None) -> None:
        network, card = load_network(weights)
        self.method = make_method(replace(DEFAULTS, method="cpmc"), card)
        self.threshold = card.thresholds.get(self.method.threshold_key, self.method.default_threshold)
        self.device = torch.device("cpu")
        self.amp = pick_amp("auto", self.device)
        options = WalkOptions(affinity=head, walk_weights=weights)
        self.walk = None if head is None else Walk.of(options).for_classes(card.classes)
        self.head = None if head is None else load_head(head)
        self.network = network.for_maps(self.device, self.amp)

    def __call__(self, photo: np.ndarray, tags: tuple[int, ...]) -> np.ndarray:
        """Labels at every fourth pixel, uint8, 255 ignore."""
        size, passes = (photo.shape[0], photo.shape[1]), PRESETS["fast"]
        views = views_of(photo, passes.scales)
        seen = see(self.network, self.method, views[0], (False,), amp=self.amp, pyramid=True)
        known = None if self.head is None else seen_in(self.head, seen, self.amp)[0]
        maps = multiscale_maps(
            self.network, self.method, views, torch.tensor([tags]), torch.ones(1, len(tags), dtype=torch.bool),
            size=size, stride=EDGE_STRIDE, mirrored=passes.mirrored, amp=self.amp, seen={0: seen},
        )[0]  # fmt: skip
        scores, threshold = ScoreMap(tuple(tag + 1 for tag in tags), maps.numpy(), size, EDGE_STRIDE), self.threshold
        if self.walk is not None:
            scores, threshold = replace(self.walk, known=[known]).refine(photo, scores, threshold)
        crf = Crf.of(CrfOptions(crf_side=CRF_SIDE))
        labels = confident_labels(photo, scores, *confident_thresholds(threshold), crf)
        at = [np.minimum(np.arange(EDGE_STRIDE // 2, n + EDGE_STRIDE // 2, EDGE_STRIDE), n - 1) for n in labels.shape]
        return labels[np.ix_(*at)]


class Cache:
    """Features and labels of photos, made once."""

    def __init__(self, folder: Path, items: Sequence[ImageItem], tags: dict[str, tuple[int, ...]]) -> None:
        self.folder, self.items, self.tags = folder, items, tags
        folder.mkdir(parents=True, exist_ok=True)

    @torch.inference_mode()
    def fill(self, network: CamNetwork, labeller: Labeller) -> None:
        """Makes what is missing; `network` sees the features."""
        device = torch.device("cpu")
        amp = pick_amp("auto", device)
        for n in by_shape(range(len(self.items)), [header_size(one.path) for one in self.items], DEFAULTS.max_side):
            item = self.items[n]
            if self.file(item, "labels.npy").exists():
                continue
            photo = decode(item.path)
            views = views_of(photo, PRESETS["fast"].scales)
            seen = see(network, labeller.method, views[0], (False,), amp=amp, pyramid=True)
            features = [one[0].to(torch.bfloat16).clone() for one in seen.outputs]
            torch.save({"feats": features, "size": photo.shape[:2]}, self.file(item, "pt"))
            np.save(self.file(item, "labels.npy"), labeller(photo, self.tags[item.key]))
            if n % 20 == 0:
                print(f"{item.key}: features and labels", file=sys.stderr, flush=True)

    def file(self, item: ImageItem, kind: str) -> Path:
        return self.folder / f"{item.key}.{kind}"

    def read(self, item: ImageItem, strides: tuple[int, ...], mirrored: bool) -> tuple[Features, Tensor]:
        """The photo's features, and its labels (1, h, w): 0 ignore, 1 background, k + 1 the class of index k."""
        held = torch.load(self.file(item, "pt"))
        found = np.load(self.file(item, "labels.npy"))
        labels = torch.from_numpy(np.where(found == 255, 0, found.astype(np.int32) + 1))[None]
        outputs = [one.float()[None] for one in held["feats"]]
        if mirrored:
            outputs, labels = [one.flip(-1) for one in outputs], labels.flip(-1)
        return Features(tuple(outputs), strides, held["size"]), labels


def loss_of(head: EdgeHead, features: Features, labels: Tensor, tags: Sequence[int], rng: np.random.Generator) -> Any:
    """The two losses of one photo, of boundaries and classes; classes that it does not show take no part."""
    seen = head.see(features)
    top, left = (int(rng.integers(max(1, side - WINDOW + 1))) for side in labels.shape[1:])
    place = (slice(None), slice(top, top + WINDOW), slice(left, left + WINDOW))
    edges, _ = affinity_loss(torch.sigmoid(seen[:, 0][place]), labels[place].contiguous(), RADIUS)
    if head.classes is None:
        return edges, torch.zeros(())
    absent = torch.ones(seen.shape[1] - 1, dtype=torch.bool)
    absent[[0, *(tag + 1 for tag in tags)]] = False
    logits = seen[:, 1:].masked_fill(absent[None, :, None, None], -1e4)
    return edges, class_loss(logits, labels)


def train(backbone: Backbone, cache: Cache, classes: int, options: argparse.Namespace) -> EdgeHead:
    torch.manual_seed(options.seed)
    head = EdgeHead(backbone, classes)
    new = [] if head.classes is None else list(head.classes.parameters())
    rest = [p for name, p in head.named_parameters() if not name.startswith("classes")]
    groups = [{"params": rest, "lr": RATE}, *([{"params": new, "lr": CLASS_RATE * RATE}] if new else [])]
    optimizer = torch.optim.SGD(groups, weight_decay=1e-4)
    rng = np.random.default_rng(options.seed)
    order: list[int] = []
    for step in range(options.steps):
        if len(order) < options.batch:
            order = rng.permutation(len(cache.items)).tolist()
        picked, order = order[: options.batch], order[options.batch :]
        for group, rate in zip(optimizer.param_groups, (RATE, CLASS_RATE * RATE), strict=False):
            group["lr"] = rate * (1 - step / options.steps) ** 0.9
        optimizer.zero_grad()
        told = np.zeros(2)
        for n in picked:
            item = cache.items[n]
            features, labels = cache.read(item, backbone.strides, bool(rng.random() < 0.5))
            edges, of_class = loss_of(head, features, labels, cache.tags[item.key], rng)
            ((edges + of_class) / options.batch).backward()
            told += [edges.item() / options.batch, of_class.item() / options.batch]
        if new:
            torch.nn.utils.clip_grad_norm_(new, 5.0)
        optimizer.step()
        if step % 10 == 9:
            print(f"step {step + 1}: boundaries {told[0]:.3f}, classes {told[1]:.3f}", file=sys.stderr, flush=True)
    return head


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, help="whose backbone it is; default: the bundled weights")
    parser.add_argument("--seeds", type=Path, metavar="WEIGHTS", help="whose seeds label the photos; default: those")
    parser.add_argument("--seeds-head", type=Path, metavar="HEAD", help="walk the seeds first, with this head")
    parser.add_argument("--boundaries-only", action="store_true", help="learn no classes: for weights of other classes")
    parser.add_argument("--step", type=float, help="the head's own step of the threshold (`refining.walk`)")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only the first N photos (a trial)")
    options = parser.parse_args()
    weights = find_weights(options.weights)
    source = find_weights(options.seeds or options.weights)
    network, theirs = load_network(weights)
    classes = read_card(source).classes
    learned = 0 if options.boundaries_only else len(classes)
    collection = tagged_photos(options.data, "train", classes, options.limit)
    cache = Cache(options.cache, collection.items, dict(collection.tags or {}))
    started = time.monotonic()
    trained = EdgeNetwork(network.backbone, learned)
    sha = backbone_hash(network.backbone)
    cache.fill(
        copy.deepcopy(network).for_maps(torch.device("cpu"), pick_amp("auto", torch.device("cpu"))),
        Labeller(source, options.seeds_head),
    )
    trained.head = train(network.backbone, cache, learned, options)
    card = Card(
        classes=classes,
        method=AFFINITY,
        **theirs.network,
        backbone_sha256=sha,
        thresholds={} if options.step is None else {"walk_step": options.step},
        tag_thresholds=(0.5,) * len(classes),
        training={
            "data": "VOC 2012 animal subset, train",
            "photos": len(collection.items),
            "photos_per_class": collection.tag_counts(),
            "starts_from": {"file": weights.name, "sha256": hash_file(weights)},
            "seeds": {
                "of": source.name, "sha256": hash_file(source), "made": "cpmc, --tta fast",
                "walked_with": None if options.seeds_head is None else options.seeds_head.name,
            },
            "steps": options.steps, "batch_size": options.batch, "lr": RATE, "seed": options.seed,
        },
        license="MIT; trained on PASCAL VOC 2012 photos (Flickr, for research)",
        versions=package_versions(),
        notes="made by benchmarks/train_boundaries.py from tags alone",
    )  # fmt: skip
    save_network(options.out, trained, card)
    print(f"{options.out}: {options.out.stat().st_size / 2**10:.0f} KiB, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
