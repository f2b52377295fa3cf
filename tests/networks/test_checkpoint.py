"""Weights files: whole and sound, or refused in one line; never a pickle."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import save

from pseudomask.errors import TrainingDiverged, WeightsError
from pseudomask.networks import checkpoint
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, read_card, read_tensors, save_network
from pseudomask.networks.states import new_backbone

CARD = Card(classes=tiny.CLASSES, method="recam", backbone=tiny.NARROW, thresholds={"product": 0.2})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", thresholds={"product": 0.2})


def small(path: Path, metadata: dict[str, str] | None = None) -> Path:
    path.write_bytes(save({"a": torch.arange(6.0)}, metadata=metadata or CARD.to_metadata()))
    return path


def refused(path: Path, *, by: Callable[[Path], object] = load_network) -> str:
    with pytest.raises(WeightsError) as caught:
        by(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_round_trip_in_float32(weights: Path) -> None:
    network, card = load_network(weights)
    own = tiny.make_network()
    assert not network.training
    assert card.classes == tiny.CLASSES
    assert card == read_card(weights)
    assert all(torch.equal(v, own.state_dict()[k]) for k, v in network.state_dict().items())


def test_round_trip_in_half_precision_keeps_batch_norm_exact(tmp_path: Path) -> None:
    own = tiny.make_network(reactivated=False)
    save_network(tmp_path / "w", own, CARD)
    tensors, _ = read_tensors(tmp_path / "w")
    assert not any(k.endswith("num_batches_tracked") for k in tensors)
    network, _ = load_network(tmp_path / "w")
    assert network.reclassifier is None
    for name, value in network.state_dict().items():
        expected = own.state_dict()[name]
        assert value.dtype is expected.dtype
        assert torch.equal(value, expected.half().float() if value.ndim == 4 else expected), name
    assert (tmp_path / "w").stat().st_size < 0.65 * 4 * sum(p.numel() for p in own.parameters())


def test_channels_last_weights_are_saved_by_value(tmp_path: Path) -> None:
    own = tiny.make_network().on(torch.device("cpu"))
    save_network(tmp_path / "w", own, CARD, torch.float32)
    network, _ = load_network(tmp_path / "w")
    assert all(torch.equal(v, own.state_dict()[k]) for k, v in network.state_dict().items())


def test_weights_too_large_for_half_precision_are_not_written(tmp_path: Path) -> None:
    own = tiny.make_network(reactivated=False)
    with torch.no_grad():
        own.classifier.weight[0, 0] = 1e6
    with pytest.raises(TrainingDiverged, match="weights-dtype fp32"):
        save_network(tmp_path / "w", own, CARD)
    assert not (tmp_path / "w").exists()


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        assert "no such weights file" in refused(path)
        assert "no such weights file" in refused(path, by=read_card)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = small(tmp_path / "whole").read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        assert "not a safetensors file, or truncated" in refused(path), length
        refused(path, by=read_card)


def test_real_weights_cut_in_half_are_refused(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "half"
    path.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert "truncated" in refused(path)


@pytest.mark.parametrize(
    "content",
    [
        b"not weights at all\n" * 50,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 64) + b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offset',
    ],
)
def test_foreign_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    assert "not a safetensors file" in refused(tmp_path / "w")


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.where),)


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    path.write_bytes(pickle.dumps({"state_dict": Trap(sprung)}))
    assert "pickled .pth file is read only by" in refused(path)
    torch.save({"state_dict": Trap(sprung)}, path)
    for reader in (load_network, read_card, read_tensors):
        refused(path, by=reader)
    with pytest.raises(WeightsError):
        new_backbone("resnet18", weights=path, style="pytorch", output_stride=16)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists(), "the trap must work, or this test shows nothing"


def test_files_without_a_card_or_with_a_newer_one(tmp_path: Path) -> None:
    assert "not pseudomask weights" in refused(small(tmp_path / "w", {"format": "pt"}))
    newer = {"pseudomask": CARD.to_metadata()["pseudomask"].replace('"format": 1', '"format": 99')}
    assert "made by a newer version" in refused(small(tmp_path / "w", newer))


def test_cards_of_networks_that_cannot_be_built(tmp_path: Path) -> None:
    def card_with(**changes: object) -> Path:
        card = Card(**{"classes": ("a",), "method": "cam", "backbone": tiny.NARROW} | changes)  # type: ignore[arg-type]
        return small(tmp_path / "w", card.to_metadata())

    assert "unknown backbone 'vgg16'" in refused(card_with(backbone="vgg16"))
    assert "its card is damaged (output stride" in refused(card_with(output_stride=32))
    assert "its card is damaged (output stride" in refused(card_with(output_stride="16"))
    assert "its card is damaged (unknown style 'theano'; there are pytorch, caffe)" in refused(
        card_with(style="theano")
    )
    assert "its card is damaged (the caffe stride style" in refused(card_with(style="caffe"))
    assert "tensors do not match its card" in refused(card_with())


def test_tensors_that_do_not_fit_the_card(weights: Path, tmp_path: Path) -> None:
    tensors, metadata = read_tensors(weights)
    two = Card(classes=("a", "b"), method="recam", backbone=tiny.NARROW).to_metadata()
    checkpoint.write_tensors(tmp_path / "w", tensors, two)
    assert "2 tensors do not match its card (first: classifier.weight)" in refused(tmp_path / "w")
    checkpoint.write_tensors(tmp_path / "w", tensors | {"extra": torch.ones(1)}, metadata)
    assert "1 tensors do not match its card (first: extra)" in refused(tmp_path / "w")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(weights: Path, tmp_path: Path, bad: float) -> None:
    tensors, metadata = read_tensors(weights)
    tensors["classifier.weight"][1, 2] = bad
    checkpoint.write_tensors(tmp_path / "w", tensors, metadata)
    assert "NaN or infinite" in refused(tmp_path / "w")


def test_update_card_changes_the_card_alone(tmp_path: Path) -> None:
    path = small(tmp_path / "w")
    changed = checkpoint.update_card(path, thresholds={"first": 0.5}, notes="measured")
    assert changed == read_card(path)
    assert (changed.thresholds, changed.notes, changed.classes) == ({"first": 0.5}, "measured", CARD.classes)
    assert torch.equal(read_tensors(path)[0]["a"], torch.arange(6.0))
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_update_card_of_a_damaged_file_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"broken")
    with pytest.raises(WeightsError):
        checkpoint.update_card(path, notes="x")
    assert path.read_bytes() == b"broken"


def test_backbone_from_a_file(tmp_path: Path) -> None:
    path = tiny.write_backbone(tmp_path / "r18.safetensors", "resnet18")
    backbone = new_backbone("resnet18", weights=path, style="pytorch", output_stride=8)
    tensors, _ = read_tensors(path)
    assert torch.equal(backbone.stem[0].weight, tensors["conv1.weight"])
    assert torch.equal(backbone.layer4[1].bn2.running_var, tensors["layer4.1.bn2.running_var"])
    assert backbone.output_stride == 8
    with pytest.raises(WeightsError, match="these weights are not a resnet34: "):
        new_backbone("resnet34", weights=path, style="pytorch", output_stride=16)
    with pytest.raises(WeightsError, match="No such file"):
        new_backbone("resnet18", weights=tmp_path / "none", style="pytorch", output_stride=16)


def test_torchvision_weights_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file torchvision's are asked for, safely; where they cannot be had the message says what helps."""
    from torchvision.models import ResNet18_Weights, resnet18

    donor = resnet18(weights=None).state_dict()
    asked: list[dict[str, object]] = []

    def given(self: object, **how: object) -> dict[str, torch.Tensor]:
        asked.append(how)
        return donor

    def offline(self: object, **how: object) -> dict[str, torch.Tensor]:
        raise OSError("no route to host")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", given)
    backbone = new_backbone("resnet18", weights=None, style="pytorch", output_stride=16)
    assert asked == [{"progress": False, "check_hash": True, "weights_only": True}]
    assert torch.equal(backbone.layer1[0].conv1.weight, donor["layer1.0.conv1.weight"])
    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", offline)
    with pytest.raises(
        WeightsError, match=r"resnet18 could not be downloaded \(no route.*give --backbone-weights FILE"
    ):
        new_backbone("resnet18", weights=None, style="pytorch", output_stride=16)


def test_a_download_leaves_stdout_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch's own words of it go to stderr; the weights come from a file that it "fetched"."""
    from torchvision.models import resnet18

    donor = resnet18(weights=None).state_dict()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda url, place, *rest, **more: torch.save(donor, place))
    backbone = new_backbone("resnet18", weights=None, style="pytorch", output_stride=16)
    assert torch.equal(backbone.layer1[0].conv1.weight, donor["layer1.0.conv1.weight"])
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Downloading" in streams.err
