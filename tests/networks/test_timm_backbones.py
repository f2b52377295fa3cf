"""timm's networks as backbones: the same numbers as torchvision's, geometry, attention, weights of every origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_timm
import torch
from safetensors.torch import save_file
from torch import Tensor

import pseudomask
from pseudomask.errors import MissingExtra, UsageError, WeightsError
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.cpmc.method import attention_of
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.networks.backbones import attention, make_backbone, timm_zoo
from pseudomask.networks.backbones.attention import watching
from pseudomask.networks.backbones.timm_backbone import TimmBackbone
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, save_network
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.states import new_backbone, read_state

TRANSFORMERS = ("ViT", "DeiT", "EVA", "DINOv2", "DINOv3")
VIT = tiny_timm.NAMES["ViT"]


def made(family: str, **more: Any) -> TimmBackbone:
    torch.manual_seed(0)
    found = make_backbone(tiny_timm.NAMES[family], **more).eval()
    assert isinstance(found, TimmBackbone)
    return found


def photo(size: tuple[int, int]) -> Tensor:
    return torch.from_numpy(tiny.draw(tiny.CLASSES, size, np.random.default_rng(0)))[None]


def network_on(family: str, *, classes: int = 3) -> CamNetwork:
    """Its weights are random; with classifiers that tell the classes apart."""
    torch.manual_seed(0)
    backbone = made(family)
    network = CamNetwork(classes, backbone.name, output_stride=backbone.output_stride, reactivated=True).eval()
    network.backbone = backbone
    return network


@pytest.mark.parametrize("style", ["pytorch", "caffe"])
@pytest.mark.parametrize("stride", [16, 8])
def test_its_resnet_is_torchvisions(style: Any, stride: int) -> None:
    torch.manual_seed(0)
    ours = make_backbone("resnet50", style=style, output_stride=stride).eval()
    theirs = make_backbone("timm:resnet50", style=style, output_stride=stride).eval()
    names = {"stem.0": "conv1", "stem.1": "bn1"}
    tensors = {}
    for key, value in ours.state_dict().items():
        begin = next((one for one in names if key.startswith(f"{one}.")), "")
        tensors[names[begin] + key.removeprefix(begin) if begin else key] = value
    theirs.load_pretrained(tensors)
    x = torch.randn(1, 3, 49, 66)
    with torch.inference_mode():
        for one, other in zip(ours(x).outputs, theirs(x).outputs, strict=True):
            assert torch.allclose(one, other, atol=1e-4 * float(one.abs().max()))
    assert (ours.strides, ours.channels) == (theirs.strides, theirs.channels)


def test_a_basic_block_has_no_caffe_style() -> None:
    with pytest.raises(UsageError, match="caffe"):
        make_backbone("timm:resnet18", style="caffe")
    with pytest.raises(UsageError, match="caffe"):
        make_backbone(VIT, style="caffe")


@pytest.mark.parametrize("family", tiny_timm.FAMILIES)
def test_the_last_output_is_what_the_networks_own_head_classifies(family: str) -> None:
    """timm's own pooled features are the mean of ours, where its head pools by the mean of patches."""
    backbone = made(family)
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        ours = backbone(x)
        if family in ("ViT", "DeiT", "DINOv2"):  # they pool by the class token
            theirs = backbone.net.forward_features(x)[:, backbone.prefix :].mean(1)
        elif "ConvNeXt" in family or family == "EVA":  # they normalise after pooling: the same for one position
            x = x[..., : backbone.output_stride, : backbone.output_stride]
            ours, theirs = backbone(x), backbone.net.forward_head(backbone.net.forward_features(x), pre_logits=True)
        else:
            theirs = backbone.net(x)
    assert torch.allclose(ours.last.mean((2, 3)), theirs, atol=1e-4)
    assert torch.equal(ours.last, backbone(x, pyramid=False).last)


@pytest.mark.parametrize("family", ["ResNet", "ConvNeXt", "Swin", "ViT", "DINOv2"])
def test_a_spot_is_where_the_photo_shows_it(family: str) -> None:
    """Seen through the stem, which is local, in a photo whose sides are no multiples of any stride."""
    backbone = made(family)
    pixels = torch.full((1, 101, 133, 3), 30, dtype=torch.uint8)
    pixels[:, 40:60, 100:120] = 255
    x = backbone.normalisation.to_input(pixels)
    with torch.inference_mode():
        seen = (backbone(x).outputs[0] - backbone(torch.full_like(x, float(x[0, 0, 0, 0]))).outputs[0]).norm(dim=1)[0]
        seen = seen * (seen > seen.max() / 2)
    for dim, centre, side in ((0, 50, 101), (1, 110, 133)):
        along = seen.sum(1 - dim)
        at = float((along * (torch.arange(len(along)) + 0.5)).sum() / along.sum() / len(along))
        assert at == pytest.approx(centre / side, abs=0.05)


def test_the_map_of_a_mirrored_photo_is_the_mirrored_map() -> None:
    """At sizes that are no multiple of the patch; padding would shift it."""
    network = network_on("ViT")
    with torch.no_grad():  # nothing in the network tells left from right
        network.backbone.net.pos_embed.zero_()
        weight = network.backbone.net.patch_embed.proj.weight
        weight.copy_(weight + weight.flip(-1))
    index, valid = torch.arange(3)[None], torch.ones(1, 3, dtype=torch.bool)
    one, other = (
        multiscale_maps(network, LinearMaps("first"), [pixels], index, valid, size=(23, 30), stride=1, mirrored=False)
        for pixels in (photo((90, 119)), photo((90, 119)).flip(2))
    )
    assert torch.allclose(one, other.flip(-1), atol=1e-3)
    assert one.std() > 0.01


@pytest.mark.parametrize("size", [(64, 96), (33, 50), (5, 70), (1, 1)])
@pytest.mark.parametrize("family", ["DINOv2", "Swin"])
def test_boundaries_have_stride_4(family: str, size: tuple[int, int]) -> None:
    network = EdgeNetwork(made(family)).eval()
    with torch.inference_mode():
        assert network(torch.randn(2, 3, *size)).shape == (2, -(-size[0] // 4), -(-size[1] // 4))


@pytest.mark.parametrize("family", tiny_timm.FAMILIES)
def test_attention_is_given_where_there_is_one(family: str) -> None:
    backbone = made(family)
    x = torch.randn(3, 3, 50, 75)
    with torch.inference_mode():
        found, plain = backbone(x, attention=True), backbone(x)
    assert backbone.attends == (family in TRANSFORMERS) == (found.attention is not None)
    assert plain.attention is None
    for one, other in zip(found.outputs, plain.outputs, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    if found.attention is not None:
        positions = found.last.shape[2] * found.last.shape[3]
        assert found.attention.shape == (3, positions, positions)
        assert (found.attention >= 0).all()
        assert (found.attention.sum(2) <= 1 + 1e-4).all(), "what is missing to 1 goes to the prefix tokens"


def test_attention_is_the_mean_of_the_last_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a plain softmax of queries and keys, of the last block alone."""
    monkeypatch.setattr(attention, "LAST", 1)
    backbone = made("ViT")
    layer, got = backbone.net.blocks[-1].attn, []
    hook = layer.register_forward_pre_hook(lambda _module, given: got.append(given[0]))
    with torch.inference_mode():
        found = backbone(torch.randn(2, 3, 64, 80), attention=True).attention
        hook.remove()
        q, k, _ = layer.qkv(got[0]).unflatten(2, (3, layer.num_heads, -1)).permute(2, 0, 3, 1, 4)
        wanted = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).mean(1)[:, 1:, 1:]
    assert found is not None
    assert torch.allclose(found, wanted, atol=1e-5)


def test_attention_is_read_photo_by_photo_and_not_of_large_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = made("EVA")
    x = torch.randn(3, 3, 56, 56)
    with torch.inference_mode():
        whole = backbone(x, attention=True).attention
        monkeypatch.setattr(attention, "ENTRIES", 1)
        assert torch.allclose(backbone(x, attention=True).attention, whole, atol=1e-5)
        monkeypatch.setattr("pseudomask.networks.backbones.timm_backbone.MOST", 15)
        assert backbone(x, attention=True).attention is None
    with pytest.raises(KeyError), watching(attention.attentive(backbone.net), 1):
        raise KeyError
    assert all(one.fused_attn for one in attention.attentive(backbone.net)), "left as it was"


def test_cpmc_propagates_by_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_on("DINOv2")
    pixels = photo((98, 98))
    index, valid = torch.arange(3)[None], torch.ones(1, 3, dtype=torch.bool)

    def maps(affinity: Any) -> Tensor:
        method = Cpmc(CpmcSettings(affinity=affinity, output="refined"))
        return multiscale_maps(network, method, [pixels], index, valid, size=(25, 25), stride=1, mirrored=False)

    assert (maps("auto") - maps("features")).abs().max() > 1e-3
    monkeypatch.setattr("pseudomask.networks.backbones.timm_backbone.attentive", lambda net: [])
    assert torch.equal(maps("auto"), maps("features")), "without attention, by features"


def test_attention_comes_to_the_grid_of_a_small_patch() -> None:
    """Stride 8: the grid has stride 16, so queries and keys are averaged over cells of 2 × 2."""
    given = torch.rand(1, 4 * 6, 4 * 6)
    features = Features((torch.zeros(1, 1, 4, 6),), (8,), (32, 48), fitted=True, attention=given)
    found = attention_of(features)
    assert found is not None
    cells = [[(2 * y + a) * 6 + 2 * x + b for a in (0, 1) for b in (0, 1)] for y in range(2) for x in range(3)]
    wanted = torch.stack([torch.stack([given[0][i][:, j].mean() for j in cells]) for i in cells])
    assert torch.allclose(found[0], wanted, atol=1e-6)


def test_first_and_part_keep_what_they_must() -> None:
    features = Features((torch.zeros(2, 1, 4, 6),), (8,), (32, 48), fitted=True, attention=torch.zeros(2, 24, 24))
    assert features.first(1).attention.shape == (1, 24, 24)  # type: ignore[union-attr]
    assert features.first(1).fitted
    assert features.part(1).fitted


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_come_from_timms_files(tmp_path: Path, ending: str) -> None:
    """With a classifier and another table of positions, in a file of either kind."""
    whole = timm_zoo.timm_model(VIT.removeprefix("timm:"), classes=5)
    state = dict(whole.state_dict())
    state["pos_embed"] = torch.zeros(1, 1 + 3 * 3, 24)
    path = tmp_path / f"w{ending}"
    if ending == ".pth":
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        save_file(state, path)
    found = new_backbone(VIT, weights=path, style="pytorch", output_stride=16)
    assert isinstance(found, TimmBackbone)
    assert torch.equal(found.net.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])
    assert found.net.pos_embed.shape == (1, 17, 24)
    assert not found.net.pos_embed.any()


def test_a_file_that_needs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": made("ViT").net}, path)
    with pytest.raises(WeightsError, match=r"can run code|not a PyTorch checkpoint"):
        read_state(path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="no tensors by name"):
        read_state(path)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"can run code|not a PyTorch checkpoint"):
        read_state(path)


def test_published_weights_are_timms_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By timm's own loader, from a file in place of its hub."""
    import timm

    name, path = VIT.removeprefix("timm:"), tmp_path / "hub.safetensors"
    whole = timm_zoo.timm_model(name, classes=1000)
    save_file(whole.state_dict(), path)
    create = timm.create_model
    monkeypatch.setattr(
        "timm.create_model",
        lambda *args, **more: create(
            *args, **more | ({"pretrained_cfg_overlay": {"file": str(path)}} if more.get("pretrained") else {})
        ),
    )
    backbone = make_backbone(VIT)
    backbone.load_pretrained(None)
    assert isinstance(backbone, TimmBackbone)
    assert torch.equal(backbone.net.norm.weight, whole.norm.weight)
    assert torch.equal(backbone.net.blocks[1].attn.qkv.weight, whole.blocks[1].attn.qkv.weight)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("LocalEntryNotFoundError", "hub cannot be reached"),
        ("GatedRepoError", "accept its licence"),
        ("OSError", "odd"),
    ],
)
def test_weights_that_cannot_be_had_take_one_line(monkeypatch: pytest.MonkeyPatch, kind: str, complaint: str) -> None:
    def fail(*args: Any, **more: Any) -> None:
        raise type(kind, (Exception,), {})("odd\nand more")

    make_backbone(VIT)
    monkeypatch.setattr("timm.create_model", fail)
    with pytest.raises(WeightsError, match=rf"could not be had.*{complaint}.*--backbone-weights") as error:
        timm_zoo.published(VIT.removeprefix("timm:"))
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 3


def test_a_network_without_weights_asks_for_a_file() -> None:
    with pytest.raises(WeightsError, match=r"no published weights.*--backbone-weights"):
        timm_zoo.published("vit_giant_patch14_224")


def test_its_own_stride_is_the_default() -> None:
    assert [made(one).output_stride for one in ("DINOv2", "Swin", "ConvNeXt")] == [14, 32, 16]
    assert made("ConvNeXt", output_stride=32).output_stride == 32


def test_missing_or_old_timm_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = network_on("ViT")
    path = tmp_path / "w.safetensors"
    save_network(path, network, Card(classes=("a", "b", "c"), method="recam", **network.backbone.card_facts))  # type: ignore[arg-type]
    monkeypatch.setattr(timm_zoo, "version", lambda name: "1.0.9")
    with pytest.raises(MissingExtra, match=r"1\.0\.28 or newer.*pip install 'pseudomask\[timm\]'"):
        load_network(path)
    monkeypatch.setattr(timm_zoo, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs timm; pip install 'pseudomask\[timm\]'") as error:
        load_network(path)
    assert error.value.exit_code == 3


def test_timm_is_imported_only_where_it_is_used() -> None:
    """Inside functions alone; a process that imports them all would take seconds to say the same."""
    files = list(Path(pseudomask.__file__).parent.rglob("*.py"))
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    words = ((line, line.split()) for line in lines if line.lstrip().startswith(("import ", "from ")))
    imports = [line for line, (_, name, *_) in words if name.partition(".")[0] == "timm"]
    assert imports
    assert all(line.startswith("    ") for line in imports)
