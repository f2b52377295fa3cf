"""Finer-CAM (Zhang et al., CVPR 2025): the gradient of a class's logit minus the mean logit of its look-alikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.errors import UsageError
from pseudomask.maps.cams.variant import WeightedCam
from pseudomask.networks.card import Card
from pseudomask.suggest import did_you_mean


@dataclass(frozen=True)
class FinerCam(WeightedCam):
    """A_c = ReLU((w_c − λ · mean_k w_k) · f(p)), k over the look-alikes of c.

    The paper finds look-alikes by their logits on the photo. Here they are the classes with the most similar classifier
    weights (highest cosine), the same for all photos, or those given.

    Attributes:
        weight: λ.
        classes: how many look-alikes a class has.
        alike: pairs of positions in the class list; if any are given, they are used instead.
    """

    name = "finer"

    weight: float = 0.6
    classes: int = 3
    alike: tuple[tuple[int, int], ...] = ()

    @property
    def default_threshold(self) -> float:
        return 0.12  # best on train in docs/cam-variants.md

    @classmethod
    def of(cls, config: Any, card: Card) -> Self:
        pairs = tuple(_pair(text, card.classes) for text in config.finer_alike)
        return cls(config.finer_weight, config.finer_classes, pairs)

    def weigh(self, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        return (weights - self.weight * self.look_alikes(weights) @ weights)[index]

    def look_alikes(self, weights: Tensor) -> Tensor:
        """(C, D) → (C, C): each row holds the shares of a class's look-alikes, which sum to 1 or are all 0."""
        c = len(weights)
        chosen = torch.zeros(c, c, device=weights.device)
        if self.alike:
            for a, b in self.alike:
                chosen[a, b] = chosen[b, a] = 1
        elif c > 1:
            unit = F.normalize(weights.detach(), dim=1)
            cosine = (unit @ unit.T).fill_diagonal_(-torch.inf)
            chosen.scatter_(1, cosine.topk(min(self.classes, c - 1), dim=1).indices, 1)
        return chosen / chosen.sum(1, keepdim=True).clamp(min=1)


def _pair(text: str, classes: Sequence[str]) -> tuple[int, int]:
    """ "cat:dog" → their positions. Raises `UsageError` unless these are two classes."""
    for i in (i for i, letter in enumerate(text) if letter == ":"):  # names may contain colons
        first, second = text[:i].strip(), text[i + 1 :].strip()
        if first in classes and second in classes and first != second:
            return classes.index(first), classes.index(second)
    names = [part.strip() for part in text.split(":")]
    unknown = next((name for name in names if name not in classes), None)
    if len(names) == 2 and unknown is not None:
        raise UsageError(
            f"--finer-alike {text}: the weights have no class {unknown!r}{did_you_mean(unknown, classes)}; they have "
            f"{', '.join(classes)}"
        )
    raise UsageError(f"--finer-alike {text}: give pairs of two different classes, such as cat:dog,cow:horse")
