"""The 8-bit ResNet is the float32 one, but for its rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.int8 import in_int8
from pseudomask.networks.backbones.resnet import STAGES, torchvision_resnet
from pseudomask.networks.backbones.resnet_folding import FoldedConv
from pseudomask.networks.int8 import Int8Conv, quantised, recorded_ranges

pytestmark = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qconv2d_pointwise")),
    reason="torch has no oneDNN here",
)


def test_features_are_near_and_stages_can_stay_exact() -> None:
    torch.manual_seed(0)
    exact = torchvision_resnet("resnet18", style="pytorch", output_stride=16).eval()
    small = torchvision_resnet("resnet18", style="pytorch", output_stride=16).eval()
    small.load_state_dict(exact.state_dict())
    views = [torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 96)]
    for network in (exact, small):
        network.fold()
    in_int8(small, views, ("layer1",))
    with torch.inference_mode():
        for x in views:
            wanted, found = exact(x), small(x)
            assert torch.equal(found.outputs[1], wanted.outputs[1])
            for stage, one, other in zip(STAGES[1:], found.outputs[2:], wanted.outputs[2:], strict=True):
                error = float((one - other).norm() / other.norm())
                assert 0 < error < 0.1, (stage, error)


def test_levels_are_the_nearest_and_end_at_the_range() -> None:
    x = torch.tensor([0.0, 0.24, 0.26, 1.0, 127.5, 400.0])
    assert quantised(x, 0.5).tolist() == [0, 0, 1, 2, 255, 255]


@pytest.mark.parametrize("kind", [{"groups": 4}, {"dilation": 2, "padding": 2}, {"stride": 2, "padding": 1}])
def test_convolutions_of_each_kind(kind: dict[str, int]) -> None:
    torch.manual_seed(0)
    conv = FoldedConv(nn.Conv2d(8, 8, 3, bias=False, **kind).eval(), nn.BatchNorm2d(8).eval(), None, None, relu=True)
    x = torch.rand(2, 8, 9, 70) / 2  # sums of larger ones are cut off without VNNI
    with torch.inference_mode():
        wanted, found = conv(x), Int8Conv(conv, 1 / 255, None)(quantised(x, 1 / 255))
        assert float((found - wanted).norm() / wanted.norm()) < 0.02
        levels = Int8Conv(conv, 1 / 255, 0.01)(quantised(x, 1 / 255))
    assert levels.dtype is torch.uint8
    torch.testing.assert_close(levels * 0.01, found, rtol=0, atol=0.0051)


def test_ranges_of_a_record_must_be_of_this_network() -> None:
    network = torchvision_resnet("resnet18", style="pytorch", output_stride=16).eval()
    network.fold()
    ranges = {f"layer{stage}.{block}.{conv}": 1.5 for stage in (2, 3, 4) for block in (0, 1) for conv in (0, 1)}
    assert recorded_ranges(ranges, network) == ranges
    for wrong in (None, {}, [1.5], {**ranges, "layer2.0.0": "1"}, {**ranges, "layer2.0.0": float("nan")}, {"x": 1.0}):
        assert recorded_ranges(wrong, network) is None
