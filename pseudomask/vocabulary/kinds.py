"""Photos without tags: the narrowest kinds of ImageNet that a classifier is sure of (tabby and Egyptian cat → cat)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from pseudomask.vocabulary import meaning, synsets

WIDEST_ANIMAL = 120
WIDEST_THING = 26
"""Most classes of a kind: dog (118), furniture (22) say what a photo shows; covering (90), device (130) do not."""


@dataclass(frozen=True)
class Kinds:
    """Classes, and the kinds above them, that a photo may show.

    Attributes:
        names: each is a tag that `meaning` finds.
        members: (K, N) float, 1 where a class belongs to the kind.
        below: (K, K) bool, whether the second kind is a proper part of the first.
    """

    names: tuple[str, ...]
    members: Tensor
    below: Tensor

    def seen(self, probability: Tensor, least: float) -> Tensor:
        """The narrowest kinds with at least this probability: (B, N) softmax → (B, K) bool."""
        sure = probability @ self.members.T >= least
        return sure & ~_any(sure, self.below)

    def merged(self, seen: Tensor) -> tuple[str, ...]:
        """The names of the kinds that some photo shows, (B, K) bool, without parts of others, in alphabetical order."""
        there = seen.any(0, keepdim=True)
        widest = there & ~_any(there, self.below.T)
        return tuple(sorted(name for name, kept in zip(self.names, widest[0].tolist(), strict=True) if kept))


def _any(there: Tensor, related: Tensor) -> Tensor:
    """For each kind, whether any kind that is `related` to it is there."""
    return (there.float() @ related.T.float()) > 0


@cache
def kinds(classes: Sequence[str]) -> Kinds:
    """The kinds of a classifier whose classes are ImageNet's 1,000, under these names."""
    animal = meaning("animal")
    animals = set(animal.classes if animal else ())
    named = {}
    for members, words in synsets().items():
        if len(members) <= (WIDEST_ANIMAL if animals.issuperset(members) else WIDEST_THING):
            plain = [classes[members[0]].replace("_", " ")] if len(members) == 1 else []
            own = [word for word in (*plain, *words) if _means(word, members)]
            name = own[0] if own[:1] == plain else min(own, key=_oddness)
            if name[-1].isdigit() and len(members) > 1:
                continue  # its words mean something else
            named[name] = members
    matrix = torch.zeros(len(named), len(classes))
    for row, members in zip(matrix, named.values(), strict=True):
        row[list(members)] = 1
    shared, size = matrix @ matrix.T, matrix.sum(1)
    below = (shared == size[None, :]) & (size[None, :] < size[:, None])
    return Kinds(tuple(named), matrix, below)


def _means(word: str, members: tuple[int, ...]) -> bool:
    found = meaning(word)
    return found is not None and found.classes == members


def _oddness(word: str) -> tuple[bool, int, int, str]:
    """Short single words come first, ids last."""
    return word[-1].isdigit(), word.count(" "), len(word), word
