"""Backbones: strides, styles, frozen parts, weights in torchvision's naming."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones import BACKBONES, FREEZE_POINTS, Backbone, BackboneSpec


@pytest.fixture
def bottleneck_net(monkeypatch: pytest.MonkeyPatch) -> str:
    """A bottleneck network of four blocks a test can afford: one registry line, as promised."""
    monkeypatch.setitem(BACKBONES, "tiny", BackboneSpec(lambda weights: ResNet(Bottleneck, [1, 2, 2, 2]), "none"))
    return "tiny"


@pytest.mark.parametrize(
    ("output_stride", "expected"), [(16, [(17, 13), (9, 7), (5, 4), (5, 4)]), (8, [(17, 13), (9, 7), (9, 7), (9, 7)])]
)
def test_stages_have_the_promised_strides(output_stride: int, expected: list[tuple[int, int]]) -> None:
    network = Backbone("resnet18", output_stride=output_stride).eval()
    with torch.no_grad():
        stages = network.stages(torch.randn(2, 3, 66, 50))
        final = network(torch.randn(1, 3, 64, 80))
    assert [tuple(s.shape[2:]) for s in stages] == expected
    assert [s.shape[:2] for s in stages] == [(2, d) for d in (64, 128, 256, 512)]
    assert final.shape == (1, network.dim, 64 // output_stride, 80 // output_stride)


def test_resnet50_caffe_strides_in_first_convolution() -> None:
    caffe = Backbone("resnet50", style="caffe").eval()
    for layer, stride in ((caffe.layer2, 2), (caffe.layer3, 2), (caffe.layer4, 1)):
        assert layer[0].conv1.stride == layer[0].downsample[0].stride == (stride, stride)
        assert layer[0].conv2.stride == (1, 1)
    with torch.no_grad():
        assert caffe(torch.randn(1, 3, 64, 64)).shape == (1, 2048, 4, 4)


def test_pytorch_style_strides_in_second_convolution(bottleneck_net: str) -> None:
    network = Backbone(bottleneck_net)
    for layer, stride in ((network.layer2, 2), (network.layer3, 2), (network.layer4, 1)):
        assert layer[0].conv2.stride == layer[0].downsample[0].stride == (stride, stride)
        assert layer[0].conv1.stride == (1, 1)


def test_styles_differ_in_result_but_not_in_shape(bottleneck_net: str) -> None:
    torch.manual_seed(0)
    a, b = Backbone(bottleneck_net).eval(), Backbone(bottleneck_net, style="caffe").eval()
    b.load_state_dict(a.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert a(x).shape == b(x).shape
        assert not torch.allclose(a(x), b(x), rtol=0.1)


@pytest.mark.parametrize(("name", "style"), [("resnet18", "pytorch"), ("tiny", "pytorch"), ("tiny", "caffe")])
def test_stride_8_is_stride_16_seen_more_finely(bottleneck_net: str, name: str, style: str) -> None:
    """Dilation stands for the stride taken away: every second feature is the coarse network's."""
    torch.manual_seed(1)
    coarse = Backbone(name, style=style).eval()  # type: ignore[arg-type]
    fine = Backbone(name, style=style, output_stride=8).eval()  # type: ignore[arg-type]
    fine.load_state_dict(coarse.state_dict())
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected, found = coarse(x), fine(x)
    assert torch.allclose(found[:, :, ::2, ::2], expected, atol=1e-4 * float(expected.abs().max()))


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown backbone 'resnet19'.*there are resnet18, resnet34, resnet50"):
        Backbone("resnet19")
    with pytest.raises(UsageError, match="16 or 8, not 32"):
        Backbone("resnet18", output_stride=32)
    with pytest.raises(UsageError, match="caffe stride style is for bottleneck"):
        Backbone("resnet18", style="caffe")
    with pytest.raises(UsageError, match="unknown style 'theano'"):
        Backbone("resnet18", style="theano")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"unknown freeze point 'layer5'.*there are none, stem"):
        Backbone("resnet18").freeze("layer5")


@pytest.mark.parametrize("point", FREEZE_POINTS)
def test_frozen_parts_get_no_gradients_and_the_rest_does(point: str) -> None:
    network = Backbone("resnet18")
    network.freeze("layer4")  # a second call must undo the first
    network.freeze(point)
    network.train()
    stages = network.stages(torch.randn(1, 3, 32, 32))
    frozen = FREEZE_POINTS[1 : FREEZE_POINTS.index(point) + 1]
    assert [s.requires_grad for s in stages] == [name not in frozen for name in FREEZE_POINTS[2:]]
    if stages[3].requires_grad:
        stages[3].sum().backward()
    for name, parameter in network.named_parameters():
        held = name.split(".")[0] in frozen
        assert parameter.requires_grad is not held, name
        assert (parameter.grad is None) is held, name


def test_batch_norm_statistics_never_change() -> None:
    network = Backbone("resnet18").train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = 5 + 3 * torch.randn(4, 3, 32, 32)
    trained = network(x)
    network.eval()
    assert torch.equal(trained, network(x)), "training mode must use the stored statistics"
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    affine = [m.weight for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(w.requires_grad for w in affine)


def in_torchvision_naming(network: Backbone) -> dict[str, Tensor]:
    names = {"stem.0.": "conv1.", "stem.1.": "bn1."}
    return {names.get(k[:7], k[:7]) + k[7:]: v for k, v in network.state_dict().items()}


def test_half_precision_and_missing_counters_load() -> None:
    donor, network = Backbone("resnet18"), Backbone("resnet18")
    state = {k: v for k, v in in_torchvision_naming(donor).items() if not k.endswith("num_batches_tracked")}
    network.load_torchvision({k: v.half() for k, v in state.items()} | {"fc.weight": torch.ones(1)})
    weight = network.layer4[1].conv2.weight
    assert weight.dtype is torch.float32
    assert torch.equal(weight, donor.layer4[1].conv2.weight.half().float())


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k != key}


def test_foreign_weights_are_refused_before_anything_changes() -> None:
    network = Backbone("resnet18")
    state = in_torchvision_naming(Backbone("resnet18"))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    cases = {
        r"1 tensors missing, 0 unknown, 0 of another shape \(first: layer2.0.conv1.weight\)": without(
            state, "layer2.0.conv1.weight"
        ),
        r"0 tensors missing, 1 unknown.*layer9.weight": state | {"layer9.weight": torch.ones(2)},
        r"1 of another shape \(first: stem.0.weight\)": state | {"conv1.weight": torch.ones(64, 1, 7, 7)},
        "100 tensors missing": {},
    }
    for message, foreign in cases.items():
        with pytest.raises(WeightsError, match=message):
            network.load_torchvision(foreign)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
