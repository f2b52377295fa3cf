"""The 8-bit ResNet of `benchmarks.int8` is the float32 one, but for its rounding."""

from __future__ import annotations

import pytest
import torch

from benchmarks.int8 import in_int8
from pseudomask.networks.backbones.resnet import STAGES, torchvision_resnet
from pseudomask.networks.int8 import quantised

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
