"""What is trained: a network, its parameters in groups, and its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pseudomask.networks.edges import EdgeNetwork
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.segmenter import Segmenter

AnyNetwork = CamNetwork | EdgeNetwork | Segmenter
LossFunction = Callable[[Any, Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
"""(network, images (B, 3, S, S), tags (B, C) or labels (B, h, w)) → the loss to descend, and parts for the log."""


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate."""

    parameters: list[Tensor]
    lr: float


@dataclass(frozen=True)
class Learner:
    """What is trained.

    Attributes:
        groups: the newest parameters last.
        card: the card's facts about the network.
        mean_of_photos: whether the loss is a mean over photos, which several processes weigh by their numbers.
    """

    network: AnyNetwork
    groups: list[Group]
    loss: LossFunction
    card: dict[str, Any]
    mean_of_photos: bool = True
