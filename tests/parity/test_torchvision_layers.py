"""With torchvision's weights each stage gives what torchvision's own network gives."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import Tensor
from torchvision.models import resnet18, resnet50
from torchvision.models.resnet import ResNet

from pseudomask.networks.backbones import make_backbone

assert tiny.CLASSES  # imported for its one-thread setting


def shake(network: ResNet) -> ResNet:
    """Statistics that are not 0 and 1, so that a lost buffer shows."""
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
            elif name.endswith("running_var"):
                buffer.uniform_(0.7, 2)
    return network.eval()


def stages_of(network: ResNet, x: Tensor) -> list[Tensor]:
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    found = []
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = layer(x)
        found.append(x)
    return found


@pytest.mark.parametrize(("name", "build"), [("resnet18", resnet18), ("resnet50", resnet50)])
def test_stages_equal_torchvisions(name: str, build: type[ResNet]) -> None:
    torch.manual_seed(0)
    theirs = shake(build(weights=None))
    ours = make_backbone(name).eval()
    ours.load_pretrained(theirs.state_dict())
    x = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        # the last stage differs by its stride alone
        first = theirs.layer4[0]
        for conv in (first.conv2 if name == "resnet50" else first.conv1, first.downsample[0]):
            assert conv.stride == (2, 2)
            conv.stride = (1, 1)
        for found, expected in zip(ours(x).stages, stages_of(theirs, x), strict=True):
            assert found.shape == expected.shape
            assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
