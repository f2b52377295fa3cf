"""Classifiers trained elsewhere: their maps are those of a plain computation, and what does not fit is told."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import ResNet

from pseudomask.cli import app
from pseudomask.config import ImportConfig
from pseudomask.errors import UsageError
from pseudomask.importing import import_
from pseudomask.maps.cam import LinearMaps
from pseudomask.networks.checkpoint import load_network

Tensors = dict[str, Tensor]


class Net(nn.Module):
    """The parts of IRN's and ReCAM's `resnet50_cam.Net`, of which each is listed again under other names."""

    def __init__(self, resnet: ResNet, classes: int) -> None:
        super().__init__()
        del resnet.fc
        self.resnet50 = resnet
        stem = (resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.stage1 = nn.Sequential(*stem, resnet.layer1)
        self.stage2, self.stage3 = nn.Sequential(resnet.layer2), nn.Sequential(resnet.layer3)
        self.stage4 = nn.Sequential(resnet.layer4)
        self.classifier = nn.Conv2d(64, classes, 1, bias=False)
        self.backbone = nn.ModuleList([self.stage1, self.stage2, self.stage3, self.stage4])
        self.newly_added = nn.ModuleList([self.classifier])


def resnet(seed: int = 0) -> ResNet:
    torch.manual_seed(seed)
    made = tiny.NarrowResNet().eval()
    made.fc = nn.Linear(64, 3)
    for name, tensor in made.named_buffers():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
    return made


def plain_maps(source: ResNet, weight: Tensor, x: Tensor) -> Tensor:
    """ReLU(w · f) with the last stage at stride 1, as in ReCAM's public code; nothing of pseudomask takes part."""
    for conv in (source.layer4[0].conv1, source.layer4[0].downsample[0]):
        conv.stride = (1, 1)
    with torch.no_grad():
        x = source.maxpool(source.relu(source.bn1(source.conv1(x))))
        features = source.layer4(source.layer3(source.layer2(source.layer1(x))))
        return F.conv2d(features, weight.reshape(*weight.shape[:2], 1, 1)).relu()


def torchvision(folder: Path, source: ResNet) -> Path:
    torch.save(source.state_dict(), folder / "net.pth")
    return folder / "net.pth"


def as_safetensors(folder: Path, source: ResNet) -> Path:
    save_file(source.state_dict(), folder / "net.safetensors")
    return folder / "net.safetensors"


def training_checkpoint(folder: Path, source: ResNet) -> Path:
    """What a trainer on several GPUs saves: a prefix, an epoch, an optimizer."""
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, folder / "net.pth.tar")
    return folder / "net.pth.tar"


def below_a_prefix(folder: Path, source: ResNet) -> Path:
    """A module that owns a backbone and a head of its own."""
    state = OrderedDict((f"backbone.{n}", v) for n, v in source.state_dict().items() if not n.startswith("fc."))
    state |= {"head.1.weight": source.fc.weight.detach(), "head.1.bias": source.fc.bias.detach()}
    torch.save(state, folder / "net.pt")
    return folder / "net.pt"


def old_format(folder: Path, source: ResNet) -> Path:
    torch.save(source.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder / "old.pth"


def irn(folder: Path, source: ResNet) -> Path:
    weight = source.fc.weight.detach().clone()
    net = Net(source, 3)
    net.classifier.weight = nn.Parameter(weight[..., None, None])
    torch.save(net.state_dict(), folder / "res50_cam.pth")
    return folder / "res50_cam.pth"


LAYOUTS = (torchvision, as_safetensors, training_checkpoint, below_a_prefix, old_format, irn)


@pytest.fixture
def names(tmp_path: Path) -> Path:
    (tmp_path / "names.txt").write_text("background\nbar\ndisc\nsquare\n")
    return tmp_path / "names.txt"


def imported(file: Path, names: Path, **more: Any) -> Path:
    out = file.with_name("out.safetensors")
    assert import_(ImportConfig(file=file, out=out, classes=str(names), **more)).exit_code == 0
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_equal_a_plain_computation(layout: Callable[..., Path], tmp_path: Path, names: Path) -> None:
    source = resnet()
    weight = source.fc.weight.detach().clone()
    network, card = load_network(imported(layout(tmp_path, source), names))
    assert card.classes == tiny.CLASSES
    assert (card.method, card.backbone) == ("cam", tiny.NARROW)
    x = torch.randn(2, 3, 64, 96)
    index = torch.arange(3).repeat(2, 1)
    with torch.no_grad():
        maps = LinearMaps("first").activate(
            network, network.backbone(x), index, torch.ones_like(index, dtype=torch.bool)
        )
    wanted = plain_maps(source, weight, x)
    assert wanted.max() > 0.1
    assert torch.allclose(maps, wanted, atol=1e-5)


def test_recams_second_classifier_makes_its_map(tmp_path: Path, names: Path) -> None:
    source = resnet()
    first, second = source.fc.weight.detach().clone(), torch.randn(3, 64)
    file = irn(tmp_path, source)
    torch.save({"classifier.weight": second[..., None, None]}, tmp_path / "recam_predictor_4.pth")
    network, card = load_network(imported(file, names, second=tmp_path / "recam_predictor_4.pth"))
    assert (card.method, card.weight_rule) == ("recam", "product")
    assert torch.equal(network.map_weights("product").flatten(1), first * second)
    assert torch.equal(network.map_weights("second").flatten(1), second)


def test_the_network_is_found_by_its_shapes(tmp_path: Path) -> None:
    from torchvision.models import resnet34

    save_file(resnet34().state_dict(), tmp_path / "net.safetensors")
    out = tmp_path / "o.safetensors"
    result = import_(ImportConfig(file=tmp_path / "net.safetensors", out=out, classes="imagenet", dry_run=True))
    assert (result.card.backbone, result.card.vocabulary, len(result.card.classes)) == ("resnet34", "imagenet", 1000)
    assert not out.exists()


def test_a_bias_is_left_out_and_told(tmp_path: Path, names: Path) -> None:
    source = resnet()
    config = ImportConfig(file=torchvision(tmp_path, source), out=tmp_path / "o", classes=str(names))
    assert "bias" in " ".join(import_(config).left_out)
    file = irn(tmp_path, source)
    assert import_(ImportConfig(file=file, out=tmp_path / "p", classes=str(names))).left_out == []


def test_strides_and_precision_are_as_asked(tmp_path: Path, names: Path) -> None:
    file = as_safetensors(tmp_path, resnet())
    out = imported(file, names, output_stride=8, weights_dtype="fp16", license="MIT")
    card = load_network(out)[1]
    assert (card.output_stride, card.license, card.training["source"]) == (8, "MIT", "net.safetensors")
    assert out.stat().st_size < 0.6 * file.stat().st_size


class Payload:
    """A pickle that would write a file if it were ever built."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def damaged(change: Callable[[Tensors], Tensors]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        torch.save(change(dict(resnet().state_dict())), folder / "bad.pth")
        return folder / "bad.pth"

    return write


def _pickled(folder: Path) -> Path:
    torch.save({"conv1.weight": torch.ones(1), "hook": Payload(folder / "ran")}, folder / "bad.pth")
    return folder / "bad.pth"


def _whole_module(folder: Path) -> Path:
    torch.save(resnet(), folder / "bad.pth")
    return folder / "bad.pth"


def _plain_pickle(folder: Path) -> Path:
    (folder / "bad.pth").write_bytes(pickle.dumps(Payload(folder / "ran"), protocol=2))
    return folder / "bad.pth"


def _truncated(folder: Path) -> Path:
    data = torchvision(folder, resnet()).read_bytes()
    (folder / "bad.pth").write_bytes(data[: len(data) // 2])
    return folder / "bad.pth"


def _truncated_safetensors(folder: Path) -> Path:
    data = as_safetensors(folder, resnet()).read_bytes()
    (folder / "bad.safetensors").write_bytes(data[: len(data) // 2])
    return folder / "bad.safetensors"


def _text(folder: Path) -> Path:
    (folder / "bad.pth").write_text("not a network\n")
    return folder / "bad.pth"


def _empty(folder: Path) -> Path:
    (folder / "bad.pth").touch()
    return folder / "bad.pth"


def _traced(folder: Path) -> Path:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), folder / "bad.pth")
    return folder / "bad.pth"


def _without(names: str) -> Callable[[Tensors], Tensors]:
    return lambda state: {name: value for name, value in state.items() if not name.startswith(names)}


BAD = {
    "pickle": (_pickled, "can run code"),
    "module": (_whole_module, "can run code.*state_dict"),
    "plain pickle": (_plain_pickle, "can run code"),
    "truncated": (_truncated, "truncated"),
    "truncated safetensors": (_truncated_safetensors, "truncated"),
    "text": (_text, "not a PyTorch checkpoint of tensors"),
    "empty": (_empty, "not a PyTorch checkpoint of tensors"),
    "missing file": (lambda folder: folder / "none.pth", "No such file"),
    "a folder": (lambda folder: folder, "directory|not a regular file"),
    "no tensors": (damaged(lambda state: {}), "no tensors"),
    "other network": (damaged(lambda state: {"blocks.0.attn.qkv.weight": torch.ones(3, 1)}), "no network.*attn"),
    "no classifier": (damaged(_without("fc.")), "no classifier"),
    "hidden layer": (
        damaged(lambda s: {**_without("fc.")(s), "fc.0.weight": torch.ones(9, 64), "fc.2.weight": torch.ones(3, 9)}),
        r"2 layers \(fc.0.weight, fc.2.weight\).*single linear",
    ),
    "missing layer": (damaged(_without("layer3.0.bn2")), "4 tensors missing.*layer3.0.bn2"),
    "extra layer": (damaged(lambda s: {**s, "layer1.7.conv1.weight": torch.ones(1)}), "1 tensor unknown.*layer1.7"),
    "other part": (damaged(lambda s: {**s, "aux.scale": torch.ones(1)}), "1 tensor that no part.*aux.scale"),
    "other shape": (damaged(lambda s: {**s, "layer2.0.conv1.weight": torch.ones(3, 3)}), "1 tensor of another shape"),
    "other features": (damaged(lambda s: {**s, "fc.weight": torch.ones(3, 32)}), "reads 32 features.*has 64"),
    "not a number": (damaged(lambda s: {**s, "bn1.bias": s["bn1.bias"] * float("nan")}), "NaN"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_one_line(
    make: Callable[[Path], Path], message: str, tmp_path: Path, names: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    file = make(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        import_(ImportConfig(file=file, out=out, classes=str(names)))
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert not out.exists()
    assert not (tmp_path / "ran").exists()
    assert app.run(["import", str(file), str(out), "--classes", str(names), "-q"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (None, "has 3 classes, but holds no names; give --classes FILE"),
        ("voc", "20 names.*has 3 classes"),
        ("nowhere.txt", "no such file, and none of voc, coco, imagenet"),
    ],
)
def test_names_must_be_as_many_as_classes(classes: str | None, message: str, tmp_path: Path) -> None:
    file = as_safetensors(tmp_path, resnet())
    with pytest.raises(UsageError, match=message):
        import_(ImportConfig(file=file, out=tmp_path / "out.safetensors", classes=classes))


def test_a_list_that_fits_is_named(tmp_path: Path) -> None:
    source = resnet()
    source.fc = nn.Linear(64, 80)
    with pytest.raises(UsageError, match="or --classes coco"):
        import_(ImportConfig(file=as_safetensors(tmp_path, source), out=tmp_path / "out.safetensors"))


def test_a_second_classifier_of_other_classes_is_refused(tmp_path: Path, names: Path) -> None:
    torch.save({"classifier.weight": torch.ones(4, 64, 1, 1)}, tmp_path / "second.pth")
    with pytest.raises(UsageError, match=r"--second.*\(4, 64\).*\(3, 64\)"):
        imported(as_safetensors(tmp_path, resnet()), names, second=tmp_path / "second.pth")


def test_an_existing_file_is_kept(tmp_path: Path, names: Path) -> None:
    file = as_safetensors(tmp_path, resnet())
    (tmp_path / "out.safetensors").write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        imported(file, names)
    assert (tmp_path / "out.safetensors").read_text() == "mine"
    load_network(imported(file, names, overwrite=True))
    with pytest.raises(UsageError, match="checkpoint itself"):
        import_(ImportConfig(file=file, out=file, classes=str(names), overwrite=True))


def test_the_command_says_what_it_made(tmp_path: Path, names: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = as_safetensors(tmp_path, resnet()), tmp_path / "own weights.safetensors"
    assert app.run(["import", str(file), str(out), "--classes", str(names)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{out}\n"
    assert f"pseudomask extract IMAGES MASKS --labels TAGS --weights '{out}'" in shown.err
