"""What every backbone of the registry must do; a new one is covered by its line in `BACKBONES`, and timm's by a tiny
network of each family.

Shapes are tried on all, without memory or arithmetic; numbers on the first, the smallest, of each family.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import taught
import tiny
import tiny_timm
import torch
from torch import nn

from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones import BACKBONES, make_backbone
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, save_network
from pseudomask.networks.network import CamNetwork

assert tiny.NARROW in BACKBONES
LINES = [*taught.names(BACKBONES), *tiny_timm.NAMES.values()]
FAMILIES = list({BACKBONES[name].make if name in BACKBONES else name: name for name in reversed(LINES)}.values())


def known(name: str, patch: pytest.MonkeyPatch) -> str:
    if name not in BACKBONES and name not in tiny_timm.NAMES.values():
        taught.teach(patch, name)
    return name


@pytest.fixture(params=LINES)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return known(request.param, monkeypatch)


@cache
def sketch(name: str) -> Backbone:
    """Without memory."""
    with torch.device("meta"):
        return make_backbone(name).eval()


@cache
def _built(name: str) -> Backbone:
    torch.manual_seed(0)
    made = make_backbone(name, output_stride=sketch(name).output_stride).to(memory_format=torch.channels_last)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after a training: a norm that is lost or doubled shows
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return made.eval()


@pytest.fixture(params=FAMILIES)
def backbone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """One with random weights and statistics."""
    return copy.deepcopy(_built(known(request.param, monkeypatch)))


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.float() - wanted).abs().mean() / wanted.abs().mean().clamp(min=1e-12))


def test_outputs_have_the_channels_and_strides_it_declares(name: str) -> None:
    network = sketch(name)
    for size in ((67, 130), (33, 50), (1, 1)):
        found = network(torch.empty(2, 3, *size, device="meta"))
        whole = network.output_stride if found.fitted else 1  # a photo is then resized to a multiple of it
        h, w = (-(-side // whole) * whole for side in size)
        assert [tuple(one.shape) for one in found.outputs] == [
            (2, channels, -(-h // stride), -(-w // stride))
            for channels, stride in zip(network.channels, network.strides, strict=True)
        ]
        assert (found.strides, found.size) == (network.strides, size)
    alone = network(torch.empty(2, 3, 1, 1, device="meta"), pyramid=False)
    assert (alone.last.shape, alone.strides) == (found.last.shape, network.strides[-1:])


def test_it_declares_what_the_interface_asks_for(name: str) -> None:
    network = sketch(name)
    assert network.parts[0] == "stem"
    assert len(network.parts) == len(network.channels) == len(network.strides) > 1
    assert all(network.output_stride % stride == 0 for stride in network.strides)
    assert network.freeze_points == ("none", *network.parts, "all")
    assert network.freeze_point("all") == network.parts[-1]
    assert network.card_facts == {"backbone": name, "style": "pytorch", "output_stride": network.output_stride}
    with pytest.raises(UsageError, match=r"--freeze 'nothing'.*there are none, stem, .*, all"):
        network.freeze("nothing")


@pytest.mark.parametrize("asked", [{"style": "caffe"}, {"output_stride": 8}, {"output_stride": 12}])
def test_styles_and_strides_are_made_or_refused(backbone: Backbone, asked: dict[str, Any]) -> None:
    refused = ""
    try:
        with torch.device("meta"):
            made = make_backbone(backbone.name, **{"output_stride": backbone.output_stride} | asked)
        assert asked.items() <= made.card_facts.items()
    except UsageError as error:
        refused = str(error)
    assert not refused or str(next(iter(asked.values()))) in refused


def test_the_mean_colour_is_about_0_to_it(name: str) -> None:
    normalisation = sketch(name).normalisation
    assert min(normalisation.std) > 0
    level = torch.from_numpy(normalisation.mean_level).expand(1, 2, 2, 3).contiguous()
    assert normalisation.to_input(level).abs().max() < 0.02
    white = normalisation.to_input(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8))
    assert 0.5 < white.min() <= white.max() < 10


def test_a_photos_features_are_its_own(backbone: Backbone) -> None:
    x = torch.randn(3, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, again, alone = backbone(x).outputs, backbone(x).outputs, backbone(x[1:2]).outputs
    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True))
    assert all(difference(one[1:2], other) < 1e-4 for one, other in zip(together, alone, strict=True))
    assert all(difference(one[:1], one[1:2]) > 1e-3 for one in together), "photos must make a difference"


@pytest.mark.parametrize(("dtype", "most"), [(None, 1e-5), (torch.bfloat16, 0.03)])
def test_folded_it_makes_the_same_features(backbone: Backbone, dtype: torch.dtype | None, most: float) -> None:
    x = torch.randn(2, 3, 37, 50)
    with torch.inference_mode():
        wanted = backbone(x).outputs
        backbone.fold(dtype)
        found, alone = backbone(x).outputs, backbone(x, pyramid=False).last
    assert [one.shape for one in found] == [one.shape for one in wanted]
    assert all(difference(a, b) < most for a, b in zip(found, wanted, strict=True))
    assert difference(alone, wanted[-1]) < most
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_frozen_parts_get_no_gradients_and_the_rest_does(backbone: Backbone) -> None:
    points = backbone.freeze_points
    backbone.train()
    for point in (*reversed(points), *points):  # each call must undo the one before
        backbone.freeze(point)
        frozen = () if point == "none" else backbone.parts[: backbone.parts.index(backbone.freeze_point(point)) + 1]
        outputs = backbone(torch.randn(1, 3, 32, 32)).outputs
        assert [one.requires_grad for one in outputs] == [part not in frozen for part in backbone.parts]
        if outputs[-1].requires_grad:
            outputs[-1].sum().backward()
        for part in backbone.parts:
            for parameter in backbone.parameters_of(part):
                assert (parameter.grad is None) == (part in frozen)
                parameter.grad = None


def test_its_weights_come_back_from_their_file(backbone: Backbone, tmp_path: Path) -> None:
    network = CamNetwork(2, backbone.name, output_stride=backbone.output_stride).eval()
    network.backbone.load_state_dict(backbone.state_dict())
    card = Card(classes=("a", "b"), method="cam", **backbone.card_facts)  # type: ignore[arg-type]
    save_network(tmp_path / "w.safetensors", network, card, torch.float32)
    loaded, told = load_network(tmp_path / "w.safetensors")
    assert told.network == backbone.card_facts
    x = torch.randn(1, 3, 37, 50)
    with torch.inference_mode():
        assert torch.equal(loaded.eval().backbone(x).last, network.backbone(x).last)


def test_weights_of_another_network_are_refused_before_anything_changes(backbone: Backbone) -> None:
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    for foreign in ({}, {"some.weight": torch.ones(2)}):
        with pytest.raises(WeightsError, match=f"these weights are not a {backbone.name}"):
            backbone.load_pretrained(foreign)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
