"""The boundary head: shapes, what trains, its file, and the backbone that it stands on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from pseudomask.config import WalkOptions
from pseudomask.errors import WeightsError
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, read_tensors, save_network, write_tensors
from pseudomask.networks.edge_weights import backbone_hash, find_backbone, load_edges
from pseudomask.networks.edges import EdgeNetwork, boundaries, seen_in
from pseudomask.refining.walk import Walk
from pseudomask.running.layout import RECORD
from pseudomask.running.record import RunRecord


def make(seed: int = 0, output_stride: int = 16) -> EdgeNetwork:
    torch.manual_seed(seed)
    return EdgeNetwork(make_backbone(tiny.NARROW, output_stride=output_stride)).eval()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A classifier whose backbone the head in `head` stands on."""
    return tiny.write_weights(tmp_path / "cam.safetensors", reactivated=False)


@pytest.fixture
def network(weights: Path) -> EdgeNetwork:
    torch.manual_seed(5)
    return EdgeNetwork(load_network(weights)[0].backbone).eval()


@pytest.fixture
def card(network: EdgeNetwork) -> Card:
    start = {"starts_from": {"file": "cam.safetensors"}}
    return Card(
        classes=tiny.CLASSES,
        method="affinity",
        backbone=tiny.NARROW,
        backbone_sha256=backbone_hash(network.backbone),
        training=start,
    )


@pytest.fixture
def head(tmp_path: Path, network: EdgeNetwork, card: Card) -> Path:
    (tmp_path / "affinity").mkdir()
    path = tmp_path / "affinity" / "weights.safetensors"
    save_network(path, network, card, torch.float32)
    return path


@pytest.fixture(autouse=True)
def no_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSEUDOMASK_WEIGHTS", raising=False)
    monkeypatch.setattr("pseudomask.networks.store.bundled_folders", lambda: ())


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
    assert trained == {name for name, _ in network.named_parameters() if name.startswith("head.")}
    assert len(trained) == 5 * 3 + 2


def test_features_that_are_there_give_the_same_boundaries_whatever_their_company() -> None:
    network = make()
    x = torch.randn(3, 3, 48, 64)
    with torch.inference_mode():
        together = seen_in(network.head, network.backbone(x), None)
        for i in range(3):
            assert torch.allclose(boundaries(network, x[i : i + 1])[0], together[i, 0].sigmoid(), atol=1e-5)


def test_the_file_holds_the_head_alone(network: EdgeNetwork, head: Path, weights: Path, card: Card) -> None:
    assert set(read_tensors(head)[0]) == set(network.head.state_dict())
    loaded, found = load_edges(head, weights)
    assert found == card
    x = torch.randn(1, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))


def as_first_saved(path: Path, network: EdgeNetwork, card: Card) -> Path:
    """A file of 0.1.0: the backbone's tensors too, and the head's without its name."""
    state = {k.removeprefix("head."): v for k, v in network.state_dict().items() if "num_batches" not in k}
    write_tensors(path, state, replace(card, backbone_sha256="").to_metadata())
    return path


def test_files_with_a_copy_of_the_backbone_still_load(tmp_path: Path, network: EdgeNetwork, card: Card) -> None:
    old = as_first_saved(tmp_path / "old", network, card)
    assert find_backbone(old, None) is None
    loaded, _ = load_edges(old)
    x = torch.randn(1, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))
    assert Walk.of(WalkOptions(affinity=old)) == Walk(old, amp="auto")


def test_checkpoints_with_the_heads_old_names_load(network: EdgeNetwork) -> None:
    other = make(seed=9)
    other.load_state_dict({k.removeprefix("head."): v for k, v in network.state_dict().items()})
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in other.state_dict().items())


def test_another_backbone_is_refused(head: Path, tmp_path: Path) -> None:
    other = tiny.write_weights(tmp_path / "other", seed=1)
    for refuse in (lambda: load_edges(head, other), lambda: find_backbone(head, other)):
        with pytest.raises(WeightsError, match=r"other: not the backbone that .*trained on.*cam\.safetensors"):
            refuse()
    with pytest.raises(WeightsError, match="no such weights file"):
        find_backbone(head, tmp_path / "none")


def test_any_weights_with_that_backbone_will_do(head: Path, weights: Path, tmp_path: Path) -> None:
    """`reactivate` left the backbone as it was: the file is another one, the backbone is not."""
    network, card = load_network(weights)
    network.add_reclassifier()
    save_network(tmp_path / "recam", network, replace(card, method="recam"), torch.float32)
    assert find_backbone(head, tmp_path / "recam") == tmp_path / "recam"


def record(folder: Path, command: str, weights: Path) -> Path:
    folder.mkdir(exist_ok=True)
    RunRecord(command=command, config={"weights": str(weights)}, classes=tiny.CLASSES).write(folder / RECORD)
    return folder


def test_the_backbone_is_found_by_its_hash(
    head: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny.write_weights(tmp_path / "other", seed=1)
    with pytest.raises(WeightsError, match=r"no weights found.*--walk-weights"):
        find_backbone(head, None)
    seeds = record(tmp_path / "seeds", "extract", other)
    with pytest.raises(WeightsError, match=r"cam\.safetensors .*searched: .*other\); give that file.*--walk-weights"):
        find_backbone(head, None, seeds)
    monkeypatch.setenv("PSEUDOMASK_WEIGHTS", str(weights))
    assert find_backbone(head, None, seeds) == weights, "what the variable names"
    monkeypatch.delenv("PSEUDOMASK_WEIGHTS")
    record(head.parent, "train-affinity", weights)
    assert find_backbone(head, None, seeds) == weights, "what the head was trained on"
    record(head.parent, "train-affinity", tmp_path / "gone")
    record(seeds, "extract", weights)
    assert find_backbone(head, None, seeds) == weights, "what the seeds were made with"
    (seeds / RECORD).write_text("{broken")
    with pytest.raises(WeightsError, match="--walk-weights"):
        find_backbone(head, None, seeds)


def test_each_kind_of_weights_has_its_place(head: Path, weights: Path) -> None:
    with pytest.raises(WeightsError, match=r"a boundary head.*refine --affinity"):
        load_network(head)
    with pytest.raises(WeightsError, match=r"cam.safetensors: not the weights of a boundary head.*train-affinity"):
        load_edges(weights)
    with pytest.raises(WeightsError, match="only the head"):
        load_edges(head)
    with pytest.raises(WeightsError, match="a boundary head"):
        load_edges(head, head)
