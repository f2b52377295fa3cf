"""Map methods and what they share; parity with the paper's recipe is in parity/test_multiscale_oracle.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from pseudomask.config import ExtractConfig
from pseudomask.data.pixels import IMAGENET
from pseudomask.errors import UsageError, WeightsError
from pseudomask.extracting.engine import Engine
from pseudomask.extracting.photos import Photo
from pseudomask.maps import METHODS, card_rule, make_method
from pseudomask.maps.cam import LinearMaps, present_class_maps
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps, see, tag_probabilities
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, save_network
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.running.reporter import SilentReporter


@pytest.fixture(scope="module")
def network() -> CamNetwork:
    return tiny.make_network()


def config(**more: str) -> ExtractConfig:
    return ExtractConfig(**{"images": Path("in"), "out": Path("out"), "method": "recam"} | more)  # type: ignore[arg-type]


CARD = Card(classes=tiny.CLASSES, method="recam", backbone=tiny.NARROW)


def test_registry() -> None:
    assert make_method(config(method="cam", recam_weights="sum"), CARD) == LinearMaps("first")
    assert make_method(config(recam_weights="second"), CARD) == LinearMaps("second")
    with pytest.raises(UsageError, match=f"unknown method 'gradcam'.*there are {', '.join(METHODS)}"):
        make_method(config(method="gradcam"), CARD)


def test_the_weight_rule_is_the_callers_then_the_cards_then_the_papers() -> None:
    summed = replace(CARD, weight_rule="sum")
    assert make_method(config(recam_weights="first"), summed) == LinearMaps("first")
    assert make_method(config(), summed) == LinearMaps("sum")
    assert make_method(config(), CARD) == LinearMaps("product")
    with pytest.raises(UsageError, match="weight rule 'best' in the weights' card is unknown; give --recam-weights"):
        make_method(config(), replace(CARD, weight_rule="best"))


def test_a_method_checks_what_it_needs() -> None:
    plain = tiny.make_network(reactivated=False)
    LinearMaps("first").check(plain)
    with pytest.raises(WeightsError, match="pseudomask reactivate"):
        LinearMaps("product").check(plain)


def test_present_class_maps_are_the_chosen_planes_of_all_maps() -> None:
    features, weights = torch.randn(2, 6, 3, 4), torch.randn(5, 6, 1, 1)
    index = torch.tensor([[4, 1, 0], [2, 0, 0]])
    found = present_class_maps(features, weights, index)
    everything = torch.einsum("cd,bdhw->bchw", weights[:, :, 0, 0], features).relu()
    for i in range(2):
        assert torch.allclose(found[i], everything[i, index[i]], atol=1e-5)


def test_present_class_maps_are_float32_under_autocast() -> None:
    features, weights = torch.randn(1, 512, 2, 2), torch.randn(3, 512, 1, 1)
    expected = present_class_maps(features, weights, torch.tensor([[0, 2]]))
    with torch.autocast("cpu", torch.bfloat16):
        found = present_class_maps(features, weights, torch.tensor([[0, 2]]))
    assert torch.equal(found, expected)


def test_tag_probabilities_are_the_classifiers(network: CamNetwork) -> None:
    pixels = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(IMAGENET.to_input(pixels)).sigmoid()
    plain, mixed = (
        tag_probabilities(network, see(network, LinearMaps("first"), pixels, (False,), amp=amp))
        for amp in (None, torch.bfloat16)
    )
    assert torch.allclose(plain, expected, atol=1e-6)
    assert mixed.dtype is torch.float32
    assert torch.allclose(mixed, expected, atol=0.05)


class Planted(MapMethod):
    """A method whose maps are known: a ramp from left to right, higher for later classes."""

    threshold_key, default_threshold = "planted", 0.2

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[int, ...], list[list[int]], list[list[bool]]]] = []

    def activate(self, network: CamNetwork, features: Features, index: Tensor, valid: Tensor) -> Tensor:
        self.calls.append(((len(features.last), 3, *features.size), index.tolist(), valid.tolist()))
        ramp = torch.linspace(0, 1, 4).expand(*index.shape, 2, 4)
        return ramp * (1 + index[..., None, None])


def test_mirrored_maps_are_turned_back_and_added(network: CamNetwork) -> None:
    method = Planted()
    views = [torch.zeros(2, h, w, 3, dtype=torch.uint8) for h, w in ((8, 16), (4, 8))]
    index, valid = torch.tensor([[0, 2], [1, 0]]), torch.tensor([[True, True], [True, False]])
    found = multiscale_maps(network, method, views, index, valid, size=(8, 16))
    # A ramp and its mirror make a plane, and a plane divided by its maximum is 1.
    assert torch.allclose(found, torch.ones(2, 2, 2, 4), atol=1e-4)
    assert [shape for shape, _, _ in method.calls] == [(4, 3, 8, 16), (4, 3, 4, 8)]
    assert method.calls[0][1:] == (index.tolist() * 2, valid.tolist() * 2)
    straight = multiscale_maps(network, method, views, index, valid, size=(8, 16), mirrored=False)
    assert torch.allclose(straight[0, 0, 0], torch.linspace(0, 1, 4), atol=1e-4)
    assert straight.max() < 1


@pytest.mark.parametrize("method", ["recam", "cpmc"])
@pytest.mark.parametrize("training", [{}, {"starts_from": {"sce_weight": 1.0}, "photos_per_class": {"thing": 9}}])
def test_one_class_never_uses_a_second_classifier_that_learned_nothing(
    method: str, training: dict[str, Any], tmp_path: Path
) -> None:
    """As version 0.1.0 saved it: the product with it is the product with noise."""
    torch.manual_seed(0)
    card = replace(CARD, classes=("thing",), method="recam", weight_rule="product", training=training)
    save_network(tmp_path / "w", CamNetwork(1, tiny.NARROW, reactivated=True), card)
    network, card = load_network(tmp_path / "w")
    assert network.reclassifier is None
    features, index = network.backbone(torch.randn(1, 3, 64, 64)), torch.zeros(1, 1, dtype=torch.int64)
    made = make_method(config(method=method), card)
    made.check(network)
    maps = made.activate(network, features, index, index == 0)
    assert maps.isfinite().all()
    flag = {"recam": "recam_weights", "cpmc": "cpmc_weights"}[method]
    with pytest.raises(WeightsError, match="pseudomask reactivate"):
        make_method(config(method=method, **{flag: "product"}), card).check(network)


@pytest.mark.parametrize(
    ("training", "taught"),
    [
        ({}, True),
        ({"starts_from": {"sce_weight": 1.0}, "photos_per_class": {"a": 9, "b": 9}}, True),
        ({"starts_from": {"sce_weight": 1.0}, "photos_per_class": {"a": 9, "b": 0}}, False),
        ({"starts_from": {"sce_weight": 1.0}, "photos_per_class": {"a": 9, "b": 0}, "contrast": True}, True),
        ({"starts_from": {}, "photos_per_class": {"a": 9, "b": 0}}, True),  # calibrate, on what had learned
        ({"history": [7, {"starts_from": {"sce_weight": 1}, "photos_per_class": {"a": 1, "b": 0}}]}, False),
        ({"fit": "lda", "photos_per_class": {"a": 9, "b": 0}}, True),
        ({"history": 7, "photos_per_class": 7}, True),
    ],
)
def test_the_card_tells_whether_the_second_classifier_learned(training: dict[str, Any], taught: bool) -> None:
    card = replace(CARD, classes=("a", "b"), training=training)
    assert card.second_taught is taught
    assert card_rule(card) == ("product" if taught else "first")


def test_each_view_is_seen_once_by_the_backbone(network: CamNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the classifier judges the tags: method and classifier read the same features."""
    sizes = []
    real = network.backbone.forward

    def counted(x: Tensor, **more: bool) -> Features:
        sizes.append(tuple(x.shape[-2:]))
        return real(x, **more)

    monkeypatch.setattr(network.backbone, "forward", counted)
    for mirrored in (True, False, "alternately"):
        engine = Engine(
            network=network, method=LinearMaps("first"), device=torch.device("cpu"), amp=None,
            tag_thresholds=torch.zeros(3), plain_scale=1, mirrored=mirrored, max_side=640, stride=4, largest=4,
            reporter=SilentReporter(),
        )  # type: ignore[arg-type]  # fmt: skip
        views = tuple(torch.zeros(side, side, 3, dtype=torch.uint8) for side in (16, 32, 48))
        photos = [Photo(0, (32, 32), views), Photo(1, (32, 32), views)]
        found = [made.scores for made in engine.make(photos, [None, (1,)])]
        assert [one.classes for one in found] == [(1, 2, 3), (2,)]
        assert sorted(sizes) == [(16, 16), (32, 32), (48, 48)]
        sizes.clear()
        engine.make(photos, [(0,), (1,)])
        assert sizes == [(16, 16), (32, 32), (48, 48)]
        sizes.clear()
