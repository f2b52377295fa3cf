"""Weights that know a vocabulary: any tags that name its classes, or kinds of them, become the classes of a run.

ImageNet's 1,000 classes are synsets of WordNet. A tag stands for all classes below it ("dog" for its breeds); the table
was made by `benchmarks.imagenet_weights`. The licence of WordNet is beside it.
"""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from pseudomask.errors import LabelError
from pseudomask.networks.card import Card
from pseudomask.networks.network import CamNetwork
from pseudomask.quoting import count, quoted

TABLE = Path(__file__).with_name("imagenet.json.gz")
LEAST_PROBABILITY = 0.3
"""From which a class counts as present in a photo without tags."""


@dataclass(frozen=True)
class Meaning:
    """What a tag stands for.

    Attributes:
        classes: positions in the vocabulary.
        kind: the first word of the synset that was taken.
        near: whether it is only a kind above the tag, which has no class of its own.
    """

    classes: tuple[int, ...]
    kind: str
    near: bool = False


def fold(name: str) -> str:
    """A name without case, accents, spaces and punctuation."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[^a-z0-9]", "", plain)


@cache
def _table() -> dict[str, Meaning]:
    entries = json.loads(gzip.decompress(TABLE.read_bytes()))
    return {name: Meaning(tuple(one["in"]), one["as"], one.get("near", False)) for name, one in entries.items()}


def known(tags: Sequence[str]) -> tuple[str, ...]:
    """The tags that stand for something."""
    return tuple(tag for tag in tags if meaning(tag) is not None)


def meaning(tag: str) -> Meaning | None:
    """What a tag stands for, in singular or plural; None if ImageNet has nothing of its kind."""
    table, name = _table(), fold(tag)
    endings = (("", ""), ("ies", "y"), ("es", ""), ("s", ""))
    tries = (name.removesuffix(end) + new for end, new in endings if name.endswith(end))
    return next((table[one] for one in tries if one in table), None)


def meanings(tags: Sequence[str]) -> list[Meaning]:
    """What each tag stands for. Raises `LabelError`, with the nearest names, for tags that name nothing."""
    found = {tag: meaning(tag) for tag in tags}
    unknown = [tag for tag, one in found.items() if one is None]
    if unknown:
        near = get_close_matches(fold(unknown[0]), [one for one in _table() if len(one) < 25], n=3, cutoff=0.7)
        hint = f" (the nearest names are {', '.join(near)})" if near else ""
        more = f" and {count(len(unknown) - 1, 'other tag')}" if len(unknown) > 1 else ""
        raise LabelError(
            f"{quoted(unknown[0])}{hint}{more}: no class or kind of ImageNet has this name; rename tags with --map "
            f"'{unknown[0]}=NAME', or leave them out with --unknown-tags drop"
        )
    return [one for one in found.values() if one is not None]


def describe(tag: str, meaning: Meaning, names: Sequence[str]) -> str:
    """`dog: 118 classes of ImageNet (Chihuahua, Japanese_spaniel, …)`, for messages."""
    members = [names[i] for i in meaning.classes]
    some = ", ".join(members[:3]) + (", …" if len(members) > 3 else "")
    through = f" has none of its own; its kind {meaning.kind} has" if meaning.near else ":"
    return f"{tag}{through} {count(len(members), 'class')} of ImageNet ({some})"


def network_for(network: CamNetwork, card: Card, tags: Sequence[str]) -> tuple[CamNetwork, Card]:
    """The network whose classes are the tags, and its card.

    A tag's classifier weights are the mean of those of its classes, without their negative part: what speaks against a
    breed need not speak against a dog. The rule was chosen on train photos (docs/imagenet.md). Raises `LabelError` as
    `meanings`.
    """
    found, rows = meanings(tags), network.classifier.weight.detach()
    groups = [rows[list(one.classes)].mean(0).clamp(min=0) for one in found]
    network.tagger = GroupLogits(rows.flatten(1), [one.classes for one in found])
    network.classifier = nn.Conv2d(rows.shape[1], len(groups), 1, bias=False)
    network.classifier.weight = nn.Parameter(torch.stack(groups))
    return network, replace(card, classes=tuple(tags), tag_thresholds=(LEAST_PROBABILITY,) * len(groups))


class GroupLogits(nn.Module):
    """Logits of groups of classes: the log odds of their probability, a sum of softmax over the whole vocabulary."""

    rows: Tensor
    groups: Tensor

    def __init__(self, rows: Tensor, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.register_buffer("rows", rows)
        members = torch.zeros(len(groups), len(rows))
        for row, group in zip(members, groups, strict=True):
            row[list(group)] = 1
        self.register_buffer("groups", members)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, D) pooled features → (B, groups), float32."""
        probability = (pooled @ self.rows.T).softmax(1) @ self.groups.T
        return torch.logit(probability, eps=1e-6)
