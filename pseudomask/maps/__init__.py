"""Registry of activation-map methods: to add one, add a file here and a line below."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from pseudomask.config import ExtractConfig, WeightRule
from pseudomask.config.quality import QUALITIES, USUAL
from pseudomask.errors import UsageError
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cams import make_cam
from pseudomask.maps.cams.variant import Cam
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.method import MapMethod
from pseudomask.networks.card import Card
from pseudomask.suggest import did_you_mean

MakeMethod = Callable[[ExtractConfig, Card], MapMethod]

METHODS: dict[str, MakeMethod] = {
    "cam": lambda config, card: LinearMaps("first", make_cam(config, card)),
    "recam": lambda config, card: LinearMaps(weight_rule(config, card), make_cam(config, card)),
    "cpmc": lambda config, card: _cpmc(config, card, make_cam(config, card)),
}


def _cpmc(config: ExtractConfig, card: Card, cam: Cam) -> Cpmc:
    """CPMC of the weight rule that the map was made for, if there is one and none is given."""
    return Cpmc(CpmcSettings.of(config), config.recam_weights or cam.made_for or card_rule(card), cam)


def make_method(config: ExtractConfig, card: Card) -> MapMethod:
    """The method that `config.method` names, for the weights of `card`."""
    method = config.method or QUALITIES[USUAL].method
    check_method(method)
    return METHODS[method](config, card)


def check_method(name: str) -> None:
    """Raise `UsageError`, with the valid names, for an unknown method."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}{did_you_mean(name, METHODS)}; there are {', '.join(METHODS)}")


def weight_rule(config: ExtractConfig, card: Card) -> WeightRule:
    """The rule requested in the config, else `card_rule`."""
    return config.recam_weights or card_rule(card)


def card_rule(card: Card) -> WeightRule:
    """The rule recommended by the card, else the paper's product; `first` if the softmax had nothing to distinguish."""
    rule = card.weight_rule or "product" if card.second_taught else "first"
    if rule not in get_args(WeightRule):
        raise UsageError(f"weight rule {rule!r} in the weights' card is unknown; give --recam-weights")
    return rule  # type: ignore[return-value]
