"""Folded backbones: the features of the plain ones, by fused calls and without them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pseudomask.networks.backbones import fused_calls, make_backbone, resnet_folding
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.resnet_folding import FoldedConv
from pseudomask.networks.edges import EdgeNetwork, boundaries
from pseudomask.networks.network import CamNetwork

NETWORKS = [
    ("resnet18", "pytorch", 16),
    ("resnet50", "caffe", 16),
    ("resnet50", "pytorch", 8),
    ("resnext50_32x4d", "pytorch", 16),
]


def backbone(name: str, style: str = "pytorch", stride: int = 16) -> Backbone:
    """With statistics that a missing or doubled batch norm would show."""
    torch.manual_seed(0)
    made = make_backbone(name, style=style, output_stride=stride).to(memory_format=torch.channels_last)  # type: ignore[arg-type]
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias)
    return made.eval()


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.float() - wanted).abs().mean() / wanted.abs().mean())


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("name", "style", "stride"), NETWORKS)
def test_all_stages_are_as_before(
    name: str, style: str, stride: int, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:
        monkeypatch.setattr(resnet_folding, "calls_for", lambda *_: None)
    plain = backbone(name, style, stride)
    x = torch.randn(2, 3, 65, 98)
    with torch.inference_mode():
        wanted = plain(x).outputs
        for dtype, most in ((None, 1e-5), (torch.bfloat16, 0.02)):
            folded = copy.deepcopy(plain)
            folded.fold(dtype)
            found = folded(x).outputs
            assert [one.shape for one in found] == [one.shape for one in wanted]
            assert all(one.dtype == (dtype or torch.float32) for one in found)
            # a stage's output must not be the place in which the next one works
            assert all(difference(a, b) < most for a, b in zip(found, wanted, strict=True))


def test_this_machine_fuses() -> None:
    """Else the test above would compare the plain calls twice."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    folded = backbone("resnet18")
    folded.fold()
    assert all(module.fused is not None for module in folded.modules() if isinstance(module, FoldedConv))


def test_calls_that_are_wrong_or_gone_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: object, conv: FoldedConv, x: torch.Tensor, shortcut: object) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)  # its ReLU is missing

    def gone(*arguments: object) -> torch.Tensor:
        raise AttributeError

    def unable(*arguments: object) -> None:
        return None

    for call in (wrong, gone, unable):
        monkeypatch.setattr(fused_calls.OneDnn, "run", call)
        assert fused_calls.calls_for(torch.device("cpu"), None, FoldedConv) is None


def test_a_network_for_maps_makes_the_same_logits() -> None:
    torch.manual_seed(1)
    network = CamNetwork(3, "resnet18").on(torch.device("cpu")).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = network(x)
        assert torch.allclose(network.for_maps(torch.device("cpu"))(x), wanted, rtol=1e-3, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in network.backbone.parameters())


@pytest.mark.parametrize(("dtype", "most"), [(None, 1e-4), (torch.bfloat16, 0.05)])
def test_a_boundary_network_for_maps_finds_the_same_boundaries(dtype: torch.dtype | None, most: float) -> None:
    torch.manual_seed(2)
    network = EdgeNetwork(backbone("resnet18")).on(torch.device("cpu")).eval()
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        wanted = boundaries(network, x)
        folded = network.for_maps(torch.device("cpu"), dtype)
        assert all(p.dtype == (dtype or torch.float32) for p in folded.backbone.parameters())
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            found = boundaries(folded, x)
    assert wanted.std() > 0.01, "else any boundaries would do"
    assert (found - wanted).abs().max() < most
