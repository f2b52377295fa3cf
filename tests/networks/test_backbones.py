"""Backbones: strides, styles, frozen parts, weights in torchvision's naming."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones import BACKBONES, BackboneSpec, make_backbone
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.resnet import ResNetBackbone


def bottleneck(name: str, **how: Any) -> ResNetBackbone:
    return ResNetBackbone(name, ResNet(Bottleneck, [1, 2, 2, 2]), **how)


@pytest.fixture
def bottleneck_net(monkeypatch: pytest.MonkeyPatch) -> str:
    """A bottleneck network of four blocks a test can afford: one registry line, as promised."""
    monkeypatch.setitem(BACKBONES, "tiny", BackboneSpec(bottleneck, "none"))
    return "tiny"


@pytest.mark.parametrize(
    ("output_stride", "expected"), [(16, [(17, 13), (9, 7), (5, 4), (5, 4)]), (8, [(17, 13), (9, 7), (9, 7), (9, 7)])]
)
def test_stages_have_the_promised_strides(output_stride: int, expected: list[tuple[int, int]]) -> None:
    network = make_backbone("resnet18", output_stride=output_stride).eval()
    with torch.no_grad():
        found = network(torch.randn(2, 3, 66, 50))
        stages = found.stages
        final = network(torch.randn(1, 3, 64, 80), pyramid=False).last
    assert [tuple(s.shape[2:]) for s in stages] == expected
    assert [s.shape[:2] for s in stages] == [(2, d) for d in (64, 128, 256, 512)]
    assert found.outputs[0].shape == (2, 64, 17, 13), "the stem comes first"
    assert found.size == (66, 50)
    assert final.shape == (1, network.dim, 64 // output_stride, 80 // output_stride)


def test_resnet50_caffe_strides_in_first_convolution() -> None:
    caffe = make_backbone("resnet50", style="caffe").eval()
    for layer, stride in ((caffe.layer2, 2), (caffe.layer3, 2), (caffe.layer4, 1)):
        assert layer[0].conv1.stride == layer[0].downsample[0].stride == (stride, stride)
        assert layer[0].conv2.stride == (1, 1)
    with torch.no_grad():
        assert caffe(torch.randn(1, 3, 64, 64)).last.shape == (1, 2048, 4, 4)


def test_pytorch_style_strides_in_second_convolution(bottleneck_net: str) -> None:
    network = make_backbone(bottleneck_net)
    for layer, stride in ((network.layer2, 2), (network.layer3, 2), (network.layer4, 1)):
        assert layer[0].conv2.stride == layer[0].downsample[0].stride == (stride, stride)
        assert layer[0].conv1.stride == (1, 1)


def test_styles_differ_in_result_but_not_in_shape(bottleneck_net: str) -> None:
    torch.manual_seed(0)
    a, b = make_backbone(bottleneck_net).eval(), make_backbone(bottleneck_net, style="caffe").eval()
    b.load_state_dict(a.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, other = a(x).last, b(x).last
        assert one.shape == other.shape
        assert not torch.allclose(one, other, rtol=0.1)


@pytest.mark.parametrize(("name", "style"), [("resnet18", "pytorch"), ("tiny", "pytorch"), ("tiny", "caffe")])
def test_stride_8_is_stride_16_seen_more_finely(bottleneck_net: str, name: str, style: str) -> None:
    """Dilation stands for the stride taken away: every second feature is the coarse network's."""
    torch.manual_seed(1)
    coarse = make_backbone(name, style=style).eval()  # type: ignore[arg-type]
    fine = make_backbone(name, style=style, output_stride=8).eval()  # type: ignore[arg-type]
    fine.load_state_dict(coarse.state_dict())
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected, found = coarse(x).last, fine(x).last
    assert torch.allclose(found[:, :, ::2, ::2], expected, atol=1e-4 * float(expected.abs().max()))


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown backbone 'resnet19'.*there are resnet18, resnet34, resnet50"):
        make_backbone("resnet19")
    with pytest.raises(UsageError, match="16 or 8, not 32"):
        make_backbone("resnet18", output_stride=32)
    with pytest.raises(UsageError, match="caffe stride style needs a bottleneck"):
        make_backbone("resnet18", style="caffe")
    with pytest.raises(UsageError, match="unknown style 'theano'"):
        make_backbone("resnet18", style="theano")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"--freeze 'layer5'.*there are none, stem, .*, all"):
        make_backbone("resnet18").freeze("layer5")


def test_batch_norm_statistics_never_change() -> None:
    network = make_backbone("resnet18").train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = 5 + 3 * torch.randn(4, 3, 32, 32)
    trained = network(x).last
    network.eval()
    assert torch.equal(trained, network(x).last), "training mode must use the stored statistics"
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    affine = [m.weight for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(w.requires_grad for w in affine)


def in_torchvision_naming(network: Backbone) -> dict[str, Tensor]:
    names = {"stem.0.": "conv1.", "stem.1.": "bn1."}
    return {names.get(k[:7], k[:7]) + k[7:]: v for k, v in network.state_dict().items()}


def test_half_precision_and_missing_counters_load() -> None:
    donor, network = make_backbone("resnet18"), make_backbone("resnet18")
    state = {k: v for k, v in in_torchvision_naming(donor).items() if not k.endswith("num_batches_tracked")}
    network.load_pretrained({k: v.half() for k, v in state.items()} | {"fc.weight": torch.ones(1)})
    weight = network.layer4[1].conv2.weight
    assert weight.dtype is torch.float32
    assert torch.equal(weight, donor.layer4[1].conv2.weight.half().float())


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k != key}


def test_foreign_weights_are_refused_before_anything_changes() -> None:
    network = make_backbone("resnet18")
    state = in_torchvision_naming(make_backbone("resnet18"))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    cases = {
        r"resnet18: 1 tensor missing \(layer2.0.conv1.weight\)$": without(state, "layer2.0.conv1.weight"),
        r"resnet18: 1 tensor unknown \(layer9.weight\)$": state | {"layer9.weight": torch.ones(2)},
        r"resnet18: 1 tensor of another shape \(stem.0.weight\)$": state | {"conv1.weight": torch.ones(64, 1, 7, 7)},
        "100 tensors missing": {},
    }
    for message, foreign in cases.items():
        with pytest.raises(WeightsError, match=message):
            network.load_pretrained(foreign)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
