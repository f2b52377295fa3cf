"""The classification network: logits, weight rules, maps."""

from __future__ import annotations

import pytest
import tiny
import torch

from pseudomask.errors import WeightsError
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork


@pytest.fixture(scope="module")
def network() -> CamNetwork:
    return tiny.make_network()


def test_logits_are_the_classifier_of_the_pooled_features(network: CamNetwork) -> None:
    x = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        features = network.backbone(x).last
        expected = network.classifier(features.mean((2, 3), keepdim=True)).flatten(1)
        assert torch.allclose(network(x), expected, rtol=1e-4, atol=1e-5)
    assert network.classifier.bias is None
    assert network.n_classes == 3


def test_logits_stay_float32_under_autocast(network: CamNetwork) -> None:
    features = torch.randn(1, network.backbone.dim, 2, 2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network.logits(Features((features.bfloat16(),), (16,), (32, 32)))
    assert found.dtype is torch.float32
    expected = features.bfloat16().float().mean((2, 3)) @ network.classifier.weight.flatten(1).T
    assert torch.allclose(found, expected, atol=1e-5)


def test_weight_rules(network: CamNetwork) -> None:
    assert network.reclassifier is not None
    w, w2 = network.classifier.weight, network.reclassifier.weight
    assert torch.equal(network.map_weights("first"), w)
    assert torch.equal(network.map_weights("second"), w2)
    assert torch.equal(network.map_weights("product"), w * w2)
    assert torch.equal(network.map_weights("sum"), w + w2)


def test_rules_of_two_classifiers_need_two() -> None:
    plain = CamNetwork(2, "resnet18")
    assert plain.map_weights("first") is plain.classifier.weight
    for rule in ("product", "second", "sum"):
        with pytest.raises(WeightsError, match="pseudomask reactivate"):
            plain.map_weights(rule)  # type: ignore[arg-type]
    plain.add_reclassifier()
    assert plain.map_weights("product").shape == (2, 512, 1, 1)
