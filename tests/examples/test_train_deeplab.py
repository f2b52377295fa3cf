"""The script that trains DeepLabV3: the backbone is pseudomask's, it learns what masks say, and says what is wrong."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.resnet import Bottleneck, ResNet

from pseudomask.data.pixels import IMAGENET
from pseudomask.masks import load_mask, save_mask
from pseudomask.networks.backbones import BACKBONES, BackboneSpec, make_backbone
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.resnet import ResNetBackbone
from pseudomask.networks.checkpoint import write_tensors

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "train_deeplab.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_deeplab", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-50 with two blocks a stage in place of 3, 4, 6, 3: as wide, and made in a third of the time."""

    def build(weights: None = None, **more: object) -> ResNet:
        more.pop("progress", None)
        return ResNet(Bottleneck, [2, 2, 2, 2], **more)  # type: ignore[arg-type]

    def make(name: str, **how: Any) -> Backbone:
        return ResNetBackbone(name, build(), **how)

    monkeypatch.setitem(BACKBONES, "resnet50", BackboneSpec(make, "none"))
    monkeypatch.setattr("torchvision.models.segmentation.deeplabv3.resnet50", build)


@pytest.fixture
def light_head(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two 1×1 convolutions for the head of 16 million weights, most of a step's cost at this size."""

    def build(features: int, labels: int, atrous_rates: object = None) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(features, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, labels, 1))

    monkeypatch.setattr(script, "DeepLabHead", build)
    monkeypatch.setattr("torchvision.models.segmentation.deeplabv3.DeepLabHead", build)


def random_backbone(style: str) -> Backbone:
    """Random weights, and batch-norm statistics that are not those of a new network."""
    torch.manual_seed(3)
    backbone = make_backbone("resnet50", style=style).eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return backbone


def close(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("style", ["pytorch", "caffe"])
def test_features_are_those_of_pseudomasks_backbone(script: ModuleType, style: str) -> None:
    """Stage by stage at output stride 16; the last without its dilation, which pseudomask's does not have."""
    backbone = random_backbone(style)
    other = random_backbone("caffe" if style == "pytorch" else "pytorch")
    network = script.deeplab(3, style).eval()
    script.put_backbone(network, backbone)
    body = network.backbone
    x = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        expected = backbone(x).stages
        found = body.maxpool(body.relu(body.bn1(body.conv1(x))))
        for name, stage in zip(("layer1", "layer2", "layer3"), expected[:3], strict=True):
            found = getattr(body, name)(found)
            assert close(found, stage)
        assert not close(found, other(x).stages[2])  # the same weights with strides elsewhere
        for block in body.layer4:
            block.conv2.dilation = block.conv2.padding = (1, 1)
        assert close(body(x)["out"], expected[3])


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("style", ["pytorch", "caffe"])
def test_dilation_stands_for_the_stride_taken_away(script: ModuleType, style: str) -> None:
    """Every second feature is that of the network at stride 32, as it was pretrained."""
    backbone = random_backbone(style)
    network = script.deeplab(3, style).eval()
    script.put_backbone(network, backbone)
    first = backbone.layer4[0]
    (first.conv1 if style == "caffe" else first.conv2).stride = (2, 2)
    first.downsample[0].stride = (2, 2)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert close(network.backbone(x)["out"][:, :, ::2, ::2], backbone(x).last)


def test_strides_of_the_pytorch_style_are_torchvisions(script: ModuleType) -> None:
    theirs = resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
    ours = script.deeplab(3, "pytorch").backbone
    convolutions = {name: m for name, m in theirs.named_modules() if isinstance(m, nn.Conv2d)}
    assert len(convolutions) == 53
    for name, conv in convolutions.items():
        own = ours.get_submodule(name)
        assert (own.stride, own.dilation, own.padding) == (conv.stride, conv.dilation, conv.padding), name


def draw_set(folder: Path, count: int = 6) -> Path:
    """Photos whose left part is red and of class 1, the rest dim noise; their masks; classes.txt."""
    rng = np.random.default_rng(0)
    for i in range(count):
        photo = rng.integers(0, 60, (40, 56, 3), dtype=np.uint8)
        mask = np.zeros((40, 56), np.uint8)
        mask[:, : 20 + 4 * (i % 3)] = 1
        photo[mask == 1] = (230, 20, 20)
        path = folder / "photos" / f"deep{i % 2}" / f"p{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(path)
        save_mask(folder / "masks" / f"deep{i % 2}" / f"p{i}.png", mask)
    (folder / "classes.txt").write_text("background\nred\n")
    return folder


def words(data: Path, run: Path, *more: object) -> list[str]:
    given = ["train", data / "photos", data / "masks", run, "--class-file", data / "classes.txt", "--workers", 0]
    return [str(word) for word in (*given, "--amp", "off", "--crop", 33, *more)]


def test_labels_stay_on_their_pixels(script: ModuleType, tmp_path: Path) -> None:
    """In scaled, mirrored, cropped pairs red is class 1, and what no photo covers is ignored."""
    data = draw_set(tmp_path)
    pairs = script.find_pairs(data / "photos", data / "masks", None, 2)
    assert len(pairs) == 6
    crops = script.Crops(pairs, crop=48, seed=1)
    shares, mirrored = [], set()
    for epoch in range(4):
        for i in range(len(pairs)):
            image, labels = crops[(epoch, i)]
            assert image.shape == (48, 48, 3)
            assert labels.dtype == torch.int64
            assert set(labels.unique().tolist()) <= {0, 1, 255}
            known = labels != 255
            assert (image[~known] == torch.from_numpy(IMAGENET.mean_level)).all()
            shares.append(((image[..., 0] > 124) == (labels == 1))[known].float().mean())
            columns = [torch.nonzero((labels == c).any(0)).float().mean() for c in (0, 1)]
            mirrored.add(bool(columns[0] < columns[1]))
            assert torch.equal(crops[(epoch, i)][0], image)
    assert min(shares) > 0.93  # all but pixels at the edge between the two
    assert mirrored == {False, True}


@pytest.mark.usefixtures("shallow", "light_head")
def test_it_learns_what_the_masks_say(script: ModuleType, tmp_path: Path) -> None:
    """From random weights: training, nothing left to do the second time, masks of the photos' sizes and names."""
    data = draw_set(tmp_path, 18)
    backbone = random_backbone("pytorch").state_dict()
    bare = {k.replace("stem.0.", "conv1.").replace("stem.1.", "bn1."): v.half() for k, v in backbone.items()}
    write_tensors(tmp_path / "bare.safetensors", bare, {})
    run = tmp_path / "run"
    more = ("--backbone-weights", tmp_path / "bare.safetensors", "--batch-size", 6, "--epochs", 2)
    script.main(words(data, run, *more))
    log = (run / "log.jsonl").read_text()
    first, second = (line["loss"] for line in map(json.loads, log.splitlines()) if "epoch" in line)
    assert second < 0.8 * first
    script.main(words(data, run, *more))
    assert (run / "log.jsonl").read_text() == log
    with pytest.raises(SystemExit, match="2"):  # begun with other settings
        script.main(words(data, run, *more, "--lr", 0.1))
    arguments = ["predict", data / "photos", tmp_path / "out", "--weights", run / "weights.safetensors", "--amp", "off"]
    script.main([str(word) for word in arguments])
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert written == {path.relative_to(data / "masks").as_posix() for path in (data / "masks").rglob("*.png")}
    assert load_mask(tmp_path / "out/deep0/p0.png").shape == (40, 56)


def test_what_is_wrong_is_told_in_one_line(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = draw_set(tmp_path)

    def refused(*given: object, code: int = 2) -> str:
        with pytest.raises(SystemExit, match=str(code)):
            script.main([str(word) for word in given])
        found = capsys.readouterr()
        assert found.out == ""
        assert found.err.startswith("error: ")
        assert found.err.count("\n") == 1
        assert not (tmp_path / "run").exists()
        return found.err

    assert "--batch-size 2" in refused(*words(data, tmp_path / "run", "--batch-size", 1))
    (tmp_path / "weights.pth").write_bytes(b"\x80\x02pickle")
    more = ("--backbone-weights", tmp_path / "weights.pth")
    assert "not a safetensors file" in refused(*words(data, tmp_path / "run", *more), code=3)
    foreign = tmp_path / "foreign.safetensors"
    write_tensors(foreign, {"x": torch.zeros(1)}, {})
    more = ("--weights", foreign)
    assert "not weights that this script" in refused("predict", data / "photos", tmp_path / "out", *more, code=3)
    (tmp_path / "names.txt").write_text("p0\nabsent\n")
    assert "absent" in refused(*words(data, tmp_path / "run", "--list", tmp_path / "names.txt"))
    mask = data / "masks/deep1/p1.png"
    good = load_mask(mask)
    save_mask(mask, np.where(good == 1, 7, 0).astype(np.uint8))
    assert "holds class 7" in refused(*words(data, tmp_path / "run"))
    save_mask(mask, good[:, 1:])
    assert re.search(r"size \(40, 55\), its photo \(40, 56\)", refused(*words(data, tmp_path / "run")))
    mask.unlink()
    assert "deep1/p1.png has no mask" in refused(*words(data, tmp_path / "run"))
