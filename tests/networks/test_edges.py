"""The boundary network: shapes, what trains, its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from pseudomask.errors import WeightsError
from pseudomask.networks.backbones import Backbone
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_edges, load_network, save_network
from pseudomask.networks.edges import EdgeNetwork, boundaries

CARD = Card(classes=tiny.CLASSES, method="affinity", backbone=tiny.NARROW)


def make(seed: int = 0, **more: int) -> EdgeNetwork:
    torch.manual_seed(seed)
    return EdgeNetwork(tiny.NARROW, **more).eval()  # type: ignore[arg-type]


def test_the_stem_is_a_tap() -> None:
    torch.manual_seed(0)
    backbone = Backbone(tiny.NARROW).eval()
    x = torch.randn(1, 3, 50, 70)
    taps = backbone.taps(x)
    assert [t.shape[1] for t in taps] == [backbone.stem_dim, *backbone.stage_dims]
    assert taps[0].shape[2:] == (13, 18)
    assert torch.equal(taps[0], backbone.stem(x))
    assert all(torch.equal(a, b) for a, b in zip(taps[1:], backbone.stages(x), strict=True))


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(64, 96), (33, 50), (5, 70), (1, 1)])
def test_sizes(size: tuple[int, int], output_stride: int) -> None:
    network = make(output_stride=output_stride)
    with torch.inference_mode():
        found = boundaries(network, torch.randn(2, 3, *size))
    assert found.shape == (2, -(-size[0] // 4), -(-size[1] // 4))
    assert 0 <= found.min() <= found.max() <= 1


def test_each_tap_counts_and_only_the_head_trains() -> None:
    network = make().train()
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    trained = {name for name, p in network.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    assert trained == {name for name, _ in network.named_parameters() if not name.startswith("backbone.")}
    assert len(trained) == 5 * 3 + 2


def test_mirrored_photos_have_mirrored_boundaries() -> None:
    network = make()
    x = torch.randn(1, 3, 48, 64)
    with torch.inference_mode():
        assert torch.allclose(boundaries(network, x.flip(-1)), boundaries(network, x).flip(-1), atol=1e-6)


def test_one_file_holds_it_all(tmp_path: Path) -> None:
    network = make()
    save_network(tmp_path / "e", network, CARD, torch.float32)
    loaded, card = load_edges(tmp_path / "e")
    assert card == CARD
    x = torch.randn(1, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))


def test_each_kind_of_weights_has_its_place(tmp_path: Path) -> None:
    save_network(tmp_path / "e", make(), CARD)
    with pytest.raises(WeightsError, match=r"e: a boundary network.*refine --affinity"):
        load_network(tmp_path / "e")
    with pytest.raises(WeightsError, match=r"cam: not a boundary network.*train-affinity"):
        load_edges(tiny.write_weights(tmp_path / "cam"))
