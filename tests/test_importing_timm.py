"""Classifiers of timm's families, from a file or by name: maps equal a plain computation with timm alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from pseudomask.cli import app
from pseudomask.config import ImportConfig
from pseudomask.errors import UsageError, WeightsError
from pseudomask.importing import find_or_import, import_
from pseudomask.maps.cam import LinearMaps
from pseudomask.networks.backbones import resnet, timm_backbone
from pseudomask.networks.backbones.timm_zoo import class_names, timm_model
from pseudomask.networks.checkpoint import load_network, read_card
from pseudomask.networks.store import find_weights
from pseudomask.running.reporter import SilentReporter

FAMILIES = ("ConvNeXt", "Swin", "ViT", "EVA", "DINOv2")


def whole(family: str, classes: int = 3) -> Any:
    """timm's tiny network with a classifier, both random."""
    name = tiny_timm.NAMES[family].removeprefix("timm:")
    timm_model(name)
    torch.manual_seed(0)
    return timm_model(name, classes=classes, output_stride=16)  # where it has a choice


def plain(net: Any, x: Tensor) -> Tensor:
    """ReLU(w · f), from timm's own features, with nothing of pseudomask."""
    head = net.get_classifier()
    with torch.no_grad():
        features = net.forward_features(x)
        if features.ndim == 3:  # tokens
            tokens = net.fc_norm(features[:, net.num_prefix_tokens :])
            side = int(tokens.shape[1] ** 0.5)
            features = tokens.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        elif getattr(net, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        if hasattr(net.head, "norm"):
            features = net.head.norm(features)
        return F.conv2d(features, head.weight[..., None, None]).relu()


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_equal_timms(family: str, tmp_path: Path) -> None:
    net = whole(family)
    (tmp_path / "names.txt").write_text("bar\ndisc\nsquare\n")
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    result = import_(
        ImportConfig(
            file=tmp_path / "net.safetensors", out=tmp_path / "w", classes=str(tmp_path / "names.txt"),
            backbone=tiny_timm.NAMES[family],
        )
    )  # fmt: skip
    network, card = load_network(tmp_path / "w")
    assert (card.classes, card.backbone) == (tiny.CLASSES, tiny_timm.NAMES[family])
    assert any("class token" in note for note in result.left_out) == (family in ("ViT", "DINOv2"))
    side = network.backbone.output_stride * 4
    x = torch.randn(2, 3, side, side)
    index = torch.arange(3).repeat(2, 1)
    with torch.no_grad():
        maps = LinearMaps("first").activate(network, network.backbone(x), index, torch.ones(2, 3, dtype=torch.bool))
    assert maps.max() > 1e-4
    assert torch.allclose(maps, plain(net, x), atol=1e-5)


def test_another_network_is_told(tmp_path: Path) -> None:
    save_file(whole("ConvNeXt").state_dict(), tmp_path / "net.safetensors")
    config = {"file": tmp_path / "net.safetensors", "out": tmp_path / "w", "classes": "voc"}
    with pytest.raises(UsageError, match=r"3 classes"):
        import_(ImportConfig(**config, backbone=tiny_timm.NAMES["ConvNeXt"]))  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        import_(ImportConfig(**config, backbone=tiny_timm.NAMES["Swin"]))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no network that is known"):
        import_(ImportConfig(**config))  # type: ignore[arg-type]
    assert not (tmp_path / "w").exists()


def test_timms_published_weights_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ImageNet's names, so that tags are looked up in WordNet, and timm's licence."""
    name, net = tiny_timm.NAMES["ConvNeXt"], whole("ConvNeXt", 1000)
    monkeypatch.setattr(timm_backbone, "published", lambda name, classes: net.state_dict())
    import_(ImportConfig(file=Path(name), out=tmp_path / "w"))
    network, card = load_network(tmp_path / "w")
    assert (card.classes[207], card.vocabulary, card.training) == ("golden_retriever", "imagenet", {"source": name})
    assert card.license == card.backbone_facts["license"] != "unknown"
    assert torch.equal(network.classifier.weight.flatten(1), net.head.fc.weight)


@pytest.mark.parametrize("classes", [11821, 21841])
def test_larger_classifiers_have_timms_names(classes: int) -> None:
    names = class_names(classes)
    assert len(names) == len(set(names)) == classes
    assert {"zebra", "violin", "golden retriever"} <= set(names)
    assert any(re.fullmatch(r".+ n\d{8}", name) for name in names)
    assert class_names(7) == ()


def test_timms_names_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = whole("ConvNeXt", 11821)
    monkeypatch.setattr(timm_backbone, "published", lambda name, classes: net.state_dict())
    import_(ImportConfig(file=Path(tiny_timm.NAMES["ConvNeXt"]), out=tmp_path / "w"))
    card = read_card(tmp_path / "w")
    assert (card.classes, card.vocabulary) == (class_names(11821), "")


def test_torchvisions_published_weights_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import resnet18

    state = resnet18().state_dict()
    monkeypatch.setattr(resnet.ResNetBackbone, "published", lambda self: state)
    import_(ImportConfig(file=Path("torchvision:resnet18"), out=tmp_path / "w"))
    network, card = load_network(tmp_path / "w")
    assert (card.backbone, card.vocabulary, card.training) == (
        "resnet18", "imagenet", {"source": "torchvision:resnet18"},
    )  # fmt: skip
    assert torch.equal(network.classifier.weight.flatten(1), state["fc.weight"])


def test_extract_imports_published_weights_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags are looked up in WordNet, as with `--weights imagenet`."""
    name, net, times = tiny_timm.NAMES["ConvNeXt"], whole("ConvNeXt", 1000), list[str]()

    def published(name: str, classes: object) -> Any:
        times.append(name)
        return net.state_dict()

    monkeypatch.setattr(timm_backbone, "published", published)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny.write_photos(tmp_path / "photos", 2)
    (tmp_path / "tags.csv").write_text("filename,labels\ndeep/p00.png,zebra\np01.png,dog;violin\n")
    for out in ("a", "b"):
        words = ["extract", tmp_path / "photos", tmp_path / out, "--labels", tmp_path / "tags.csv", "--weights", name]
        more = ["--method", "cpmc", "--refine", "none", "--device", "cpu", "--workers", "0", "--quiet"]
        assert app.run([str(word) for word in [*words, *more]]) == 0
        assert len(list((tmp_path / out).rglob("*.png"))) == 2
    assert len(times) == 1
    found = json.loads((tmp_path / "a/run.json").read_text())
    assert found["classes"] == ["dog", "violin", "zebra"]
    other = whole("ConvNeXt", 7)
    monkeypatch.setattr(timm_backbone, "published", lambda name, classes: other.state_dict())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(WeightsError, match=r"has 7 classes, .*`pseudomask import timm:.* --classes NAMES\.txt`"):
        find_or_import(Path(name), SilentReporter())


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: object) -> None:
        raise WeightsError("no hub", advice="give --backbone-weights FILE")

    monkeypatch.setattr(resnet.ResNetBackbone, "published", nothing)
    with pytest.raises(WeightsError, match=r"^no hub; give a file of them, and --backbone$"):
        import_(ImportConfig(file=Path("torchvision:resnet18"), out=tmp_path / "w"))


@pytest.mark.parametrize("name", ["timm:convnext_tiny.in12k", "torchvision:resnet50"])
def test_weights_by_such_a_name_get_the_command(name: str) -> None:
    with pytest.raises(WeightsError, match=rf"pseudomask import {name} WEIGHTS.safetensors"):
        find_weights(Path(name))
