"""Which animals the ImageNet weights find without tags, and how often they are wrong.

    python -m benchmarks.imagenet_tags DATA [--list ImageSets/train.txt] [--every 1]

DATA is a VOC data set with `labels.csv`. Every photo is seen once, whole, as `extract` sees it where no tags are given.
A kind that it shows counts as `bird`, `cat`, `cow`, `dog`, `horse` or `sheep` if all of its classes are among those
that this tag stands for. The table has, for each least probability, how many photos have the tag (by the labels), for
how many of them it is found, and for how many others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pseudomask.config import LabelOptions
from pseudomask.data.collection import collect
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.store import NAMED, bundled
from pseudomask.training.split import paths
from pseudomask.training.validation import whole_photo
from pseudomask.vocabulary import meanings
from pseudomask.vocabulary.kinds import kinds

ANIMALS = ("bird", "cat", "cow", "dog", "horse", "sheep")
LEAST = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--list", default="ImageSets/train.txt")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    network, card = load_network(bundled(NAMED["imagenet"]))
    known, data = kinds(card.classes), options.data
    settings = LabelOptions(labels=data / "labels.csv", list=data / options.list, class_file=data / "classes.txt")
    collection = collect(data / "JPEGImages", settings)
    collection = collection.subset(collection.items[:: options.every])
    rows = []
    for path in paths(collection):
        photo = whole_photo(path)
        assert photo is not None, path
        rows.append(network(network.backbone.normalisation.to_input(photo[None], None)).softmax(1)[0])
    probability = torch.stack(rows)
    tags = [collection.tag_names(item.key) or () for item in collection.items]
    groups = torch.zeros(len(ANIMALS), known.members.shape[1])
    for row, one in zip(groups, meanings(ANIMALS), strict=True):
        row[list(one.classes)] = 1
    inside = known.members @ groups.T == known.members.sum(1, keepdim=True)  # (K, 6)
    truth = torch.tensor([[animal in one for animal in ANIMALS] for one in tags])
    print(f"{len(rows)} photos; each cell: found / wrongly found\n")
    shown = " | ".join(f"{a} ({int(n)})" for a, n in zip(ANIMALS, truth.sum(0), strict=True))
    print(f"| least probability | {shown} | precision | recall | other kinds per photo |")
    print(f"| --- | {' | '.join('---' for _ in ANIMALS)} | --- | --- | --- |")
    for least in LEAST:
        seen = known.seen(probability, least)
        found = seen.float() @ inside.float() > 0
        right, wrong = (found & truth).sum(0).tolist(), (found & ~truth).sum(0).tolist()
        others = (seen & ~inside.any(1)).sum().item() / len(rows)
        cells = " | ".join(f"{a} / {b}" for a, b in zip(right, wrong, strict=True))
        precision, recall = sum(right) / max(1, sum(right) + sum(wrong)), sum(right) / int(truth.sum())
        print(f"| {least} | {cells} | {100 * precision:.0f} | {100 * recall:.0f} | {others:.2f} |")


if __name__ == "__main__":
    main()
