"""A family that is no ResNet, as docs/adding-a-backbone.md writes it, from training to refined masks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import taught
import tiny
import torch
from safetensors.torch import save_file

from pseudomask import api
from pseudomask.config import CalibrateConfig, ExtractConfig, ReactivateConfig, RefineConfig
from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, read_card, read_tensors
from pseudomask.networks.edge_weights import load_edges
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.networks.network import CamNetwork
from pseudomask.training.samples import TrainingCrops


@pytest.fixture(scope="module", autouse=True)
def plain() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        taught.teach(patch, "plain")
        yield


@pytest.fixture(scope="module")
def room(plain: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plain")
    tiny.write_photos(place / "photos", 10)
    torch.manual_seed(0)
    save_file(make_backbone("plain", output_stride=8).state_dict(), place / "backbone.safetensors")
    return place


def settings(room: Path, run: str, **more: Any) -> Any:
    small = {"epochs": 1, "batch_size": 4, "crop": 48, "val_fraction": 0.2}
    shape = {"backbone": "plain", "output_stride": 8}
    return replace(tiny.training(room, room / run, **small), **shape | more)


def on(config: Any, kind: type, weights: Path, run: Path, **more: Any) -> Any:
    """The settings that a later training shares with `train-cls`, on its weights."""
    shared = {name: value for name, value in vars(config).items() if name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    return kind(**shared | {"weights": weights, "run": run, "freeze": "all"} | more)


@pytest.fixture(scope="module")
def trained(room: Path) -> dict[str, Path]:
    """Weights of train-cls, reactivate and calibrate, each going on from the one before."""
    base = settings(room, "cls", freeze="stem")
    made = {"cls": api.train_cls(base).weights}
    made["recam"] = api.reactivate(on(base, ReactivateConfig, made["cls"], room / "recam", lr_head=0.1)).weights
    made["cpmc"] = api.calibrate(on(base, CalibrateConfig, made["recam"], room / "cpmc", lr_head=0.1)).weights
    assert all(made.values())
    return made  # type: ignore[return-value]


def test_training_freezes_loads_and_keeps(room: Path, trained: dict[str, Path]) -> None:
    start = read_tensors(room / "backbone.safetensors")[0]
    first, second, third = (load_network(trained[name])[0] for name in ("cls", "recam", "cpmc"))
    assert read_card(trained["cls"]).network == {"backbone": "plain", "style": "pytorch", "output_stride": 8}
    assert torch.equal(first.backbone.stem[0].weight, start["stem.0.weight"]), "--freeze stem"
    assert not torch.equal(first.backbone.fine[0].weight, start["fine.0.weight"])
    assert torch.equal(second.backbone.fine[0].weight, first.backbone.fine[0].weight), "--freeze all"
    # `all` is recorded as the part that it names: a ResNet's folder begun with `layer4` goes on
    assert json.loads((room / "recam" / "run.json").read_text())["config"]["freeze"] == "coarse"
    assert second.reclassifier is not None
    assert third.side_heads is not None
    assert [(one.in_channels, one.out_channels) for one in third.side_heads] == [(16, 128), (24, 256), (32, 256)]


@pytest.mark.parametrize(("method", "weights"), [("cam", "cls"), ("recam", "recam"), ("cpmc", "cls"), ("cpmc", "cpmc")])
def test_every_method_extracts(room: Path, trained: dict[str, Path], tmp_path: Path, method: str, weights: str) -> None:
    ear = tiny.Ear()
    config = ExtractConfig(
        images=room / "photos", out=tmp_path, labels=room / "photos.csv", weights=trained[weights], method=method,
        refine=("none",), workers=0, device="cpu",
    )  # fmt: skip
    assert api.extract(config, ear).exit_code == 0
    assert len(list(tmp_path.rglob("*.npz"))) == 10
    assert ear.warnings == []
    assert api.extract(replace(config, out=tmp_path / "untagged", labels=None)).exit_code == 0


def test_boundaries_are_trained_and_walked(room: Path, trained: dict[str, Path]) -> None:
    seeds, walked = room / "seeds", room / "walked"
    api.extract(
        ExtractConfig(
            images=room / "photos", out=seeds, labels=room / "photos.csv", weights=trained["recam"], workers=0,
            method="recam", refine=("none",),
            threshold=0.4, device="cpu",
        )
    )  # fmt: skip
    config = tiny.affinity_training(
        room, room / "affinity", seeds=seeds, weights=trained["recam"], batch_size=4, epochs=1, radius=4
    )
    head = api.train_affinity(config).weights
    assert head is not None
    assert head.stat().st_size < 80_000
    assert load_edges(head, trained["recam"])[0].backbone.name == "plain"
    with pytest.raises(WeightsError, match="not the backbone"):
        load_edges(head, tiny.write_weights(room / "narrow.safetensors"))
    refining = RefineConfig(
        images=room / "photos", seeds=seeds, out=walked, affinity=head, device="cpu", workers=0, amp="off"
    )
    assert api.refine(refining).exit_code == 0
    assert len(list(walked.rglob("*.png"))) == 10


@pytest.mark.parametrize("size", [(64, 96), (33, 50), (5, 70), (1, 1)])
def test_boundaries_have_stride_4_whatever_the_backbones(size: tuple[int, int]) -> None:
    network = EdgeNetwork(make_backbone("plain", output_stride=8)).eval()
    with torch.inference_mode():
        assert network(torch.randn(2, 3, *size)).shape == (2, -(-size[0] // 4), -(-size[1] // 4))


def test_the_normalisation_is_its_own(room: Path, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.full((1, 8, 8, 3), 255, dtype=torch.uint8)
    network, _ = load_network(trained["cls"])
    assert network.backbone.normalisation.to_input(pixels).unique().tolist() == [2.0]
    colours = []

    class Watched(TrainingCrops):
        def __init__(self, *args: Any, **more: Any) -> None:
            colours.append(more["around"].tolist())
            super().__init__(*args, **more)

    monkeypatch.setattr("pseudomask.training.session.TrainingCrops", Watched)
    api.train_cls(settings(room, "watched"))
    assert colours == [[128, 128, 128]]


def test_what_it_is_not_is_refused_before_anything_is_written(room: Path, tmp_path: Path) -> None:
    for changes, complaint in (
        ({"output_stride": 16}, "output stride of plain is 8, not 16; give --output-stride 8"),
        ({"backbone_style": "caffe"}, "has no caffe"),
        (
            {"freeze": "layer2"},
            "--freeze 'layer2': plain has no such part; there are none, stem, fine, middle, coarse, all",
        ),
    ):
        with pytest.raises(UsageError, match=complaint):
            api.train_cls(settings(room, "refused", dry_run=True, **changes))
    with pytest.raises(WeightsError, match=r"plain has no published weights.*--backbone-weights"):
        api.train_cls(settings(room, "refused", backbone_weights=None))
    with pytest.raises(WeightsError, match="these weights are not a plain"):
        api.train_cls(settings(room, "refused", backbone_weights=tiny.write_backbone(tmp_path / "narrow")))
    assert not (room / "refused").exists()


def test_half_precision_covers_every_matrix(tmp_path: Path) -> None:
    """A convolution's four dimensions are not what decides: a ViT's linear layers have two."""
    from pseudomask.networks.checkpoint import save_network

    network = CamNetwork(2, "plain", output_stride=8)
    network.backbone.stem.append(torch.nn.Linear(3, 3))
    save_network(tmp_path / "w", network, Card(classes=("a", "b"), method="cam", **network.backbone.card_facts))  # type: ignore[arg-type]
    tensors = read_tensors(tmp_path / "w")[0]
    assert tensors["backbone.stem.2.weight"].dtype is torch.float16
    assert tensors["backbone.stem.2.bias"].dtype is torch.float32
