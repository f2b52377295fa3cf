"""Extraction against the paper's recipe written out with torchvision's own network and Pillow.

R_s = ReLU(A(x_s)) + mirror(ReLU(A(mirror x_s))) for each size s, resampled bilinearly to a quarter of the
photo, added up, and each present class divided by its own maximum + 1e-5. The recipe stretches each map to the photo;
here it stays where its blocks of 16 pixels are, which is written out with `grid_sample`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import resnet18
from torchvision.models.resnet import ResNet
from torchvision.transforms.functional import normalize, to_tensor

from pseudomask.data.pixels import resize
from pseudomask.extracting.engine import pack
from pseudomask.extracting.photos import Photos
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.multiscale import multiscale_maps
from pseudomask.networks.network import CamNetwork

SCALES = (1.0, 0.5, 1.5, 2.0)
SIZE = (50, 75)
TAGS = [(0,), (1, 2), (0, 1, 2)]
RULES = ("first", "product", "second", "sum")


@pytest.fixture(scope="module")
def network() -> CamNetwork:
    return tiny.make_network("resnet18", seed=3)


@pytest.fixture(scope="module")
def reference(network: CamNetwork) -> ResNet:
    """The same weights in torchvision's class, its last stage at stride 1."""
    theirs = resnet18(weights=None).eval()
    names = {"stem.0": "conv1", "stem.1": "bn1"}
    state = network.backbone.state_dict()
    for old, new in names.items():
        state = {k.replace(f"{old}.", f"{new}."): v for k, v in state.items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert (sorted(missing), unexpected) == (["fc.bias", "fc.weight"], [])
    theirs.layer4[0].conv1.stride = theirs.layer4[0].downsample[0].stride = (1, 1)
    return theirs


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("oracle"), np.random.default_rng(8)
    for i, tags in enumerate(TAGS):
        Image.fromarray(tiny.draw([tiny.CLASSES[t] for t in tags], SIZE, rng)).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def features_of(reference: ResNet, image: Image.Image) -> Tensor:
    x = normalize(to_tensor(image), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None]
    for stage in list(reference.children())[:-2]:
        x = stage(x)
    return x[0]


def on_photo(maps: Tensor, view: tuple[int, int], photo: tuple[int, int], mirrored: bool) -> Tensor:
    """Maps of blocks of 16 pixels of a view of this (width, height), at the centres of the photo's blocks of 4."""
    x, y = ((torch.arange(math.ceil(side / 4)) * 4 + 2) / side for side in photo)  # shares of the photo's sides
    x = 1 - x if mirrored else x
    h, w = maps.shape[1:]
    x, y = x * view[0] / (16 * w), y * view[1] / (16 * h)  # shares of what the blocks cover
    at = torch.stack(torch.meshgrid(2 * x - 1, 2 * y - 1, indexing="xy"), -1)
    how = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
    return torch.nn.functional.grid_sample(maps[None], at[None], **how)[0]


@torch.no_grad()
def by_recipe(
    reference: ResNet,
    weights: Tensor,
    path: Path,
    tags: tuple[int, ...],
    *,
    scales: tuple[float, ...] = SCALES,
    flip: bool | str = True,
    pillow: bool = False,
) -> Tensor:
    """Views are those of `pixels.resize`, a test of which holds it to Pillow's; or Pillow's own."""
    photo = Image.open(path)
    total = torch.zeros(len(tags), math.ceil(photo.height / 4), math.ceil(photo.width / 4))
    for i, scale in enumerate(scales):
        size = (round(photo.width * scale), round(photo.height * scale))
        image = (
            photo.resize(size, Image.Resampling.BICUBIC)
            if pillow
            else Image.fromarray(resize(np.asarray(photo), (size[1], size[0])))
        )
        mirror = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        views = [image, mirror] if flip is True else [mirror if flip and i % 2 else image]
        maps = [torch.einsum("kd,dhw->khw", weights[list(tags)], features_of(reference, v)).relu() for v in views]
        turned = [False, True] if flip is True else [bool(flip and i % 2)]
        for one, mirrored in zip(maps, turned, strict=True):
            total += on_photo(one, size, photo.size, mirrored)
    return torch.stack([m / (m.max() + 1e-5) for m in total])


def weights_by_rule(network: CamNetwork, rule: str) -> Tensor:
    assert network.reclassifier is not None
    w, w2 = (one.weight.detach()[:, :, 0, 0] for one in (network.classifier, network.reclassifier))
    return {"first": w, "second": w2, "product": w * w2, "sum": w + w2}[rule]


def ours(network: CamNetwork, rule: str, paths: list[Path], tags: list[tuple[int, ...]], **options: object) -> Tensor:
    scales = options.pop("scales", SCALES)
    photos = Photos(
        paths,
        range(len(paths)),
        scales=scales,  # type: ignore[arg-type]
        max_side=640,
        max_pixels=10**6,
        allow_truncated=False,
        keep_whole=False,
    )
    loaded = [photos[i] for i in range(len(paths))]
    views = [torch.stack([p.views[s] for p in loaded]) for s in range(len(loaded[0].views))]
    index, valid = pack(tags, torch.device("cpu"))
    method = LinearMaps(rule)  # type: ignore[arg-type]
    return multiscale_maps(network, method, views, index, valid, size=SIZE, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES)
def test_batches_equal_the_recipe(network: CamNetwork, reference: ResNet, paths: list[Path], rule: str) -> None:
    found = ours(network, rule, paths, TAGS)
    assert found.shape == (3, 3, 13, 19)
    for i, tags in enumerate(TAGS):
        expected = by_recipe(reference, weights_by_rule(network, rule), paths[i], tags)
        assert float(expected.std()) > 0.02, "flat maps would show nothing"
        assert float((found[i, : len(tags)] - expected).abs().max()) < 1e-4


@pytest.mark.parametrize(("rule", "place"), [("product", 1), ("first", 2)])
def test_single_photos_equal_the_recipe(
    network: CamNetwork, reference: ResNet, paths: list[Path], rule: str, place: int
) -> None:
    found = ours(network, rule, [paths[place]], [TAGS[place]])
    expected = by_recipe(reference, weights_by_rule(network, rule), paths[place], TAGS[place])
    assert float((found[0] - expected).abs().max()) < 1e-4


def test_pillows_views_give_the_same_maps_to_rounding(
    network: CamNetwork, reference: ResNet, paths: list[Path]
) -> None:
    found = ours(network, "product", [paths[1]], [TAGS[1]])
    expected = by_recipe(reference, weights_by_rule(network, "product"), paths[1], TAGS[1], pillow=True)
    assert float((found[0] - expected).abs().max()) < 3e-3


def test_other_scales_and_no_mirror(network: CamNetwork, reference: ResNet, paths: list[Path]) -> None:
    found = ours(network, "product", [paths[1]], [TAGS[1]], scales=(0.75,), mirrored=False)
    weights = weights_by_rule(network, "product")
    expected = by_recipe(reference, weights, paths[1], TAGS[1], scales=(0.75,), flip=False)
    assert float((found[0] - expected).abs().max()) < 1e-4
    whole = by_recipe(reference, weights, paths[1], TAGS[1])
    assert float((found[0] - whole).abs().max()) > 1e-2, "the settings must matter"


def test_every_second_size_mirrored(network: CamNetwork, reference: ResNet, paths: list[Path]) -> None:
    found = ours(network, "product", [paths[1]], [TAGS[1]], mirrored="alternately")
    weights = weights_by_rule(network, "product")
    expected = by_recipe(reference, weights, paths[1], TAGS[1], flip="alternately")
    assert float((found[0] - expected).abs().max()) < 1e-4
    straight = by_recipe(reference, weights, paths[1], TAGS[1], flip=False)
    assert float((found[0] - straight).abs().max()) > 1e-3, "the settings must matter"


def test_channels_last_and_bf16_stay_close(network: CamNetwork, reference: ResNet, paths: list[Path]) -> None:
    expected = by_recipe(reference, weights_by_rule(network, "first"), paths[2], TAGS[2])
    last = tiny.make_network("resnet18", seed=3).on(torch.device("cpu"))
    assert float((ours(last, "first", [paths[2]], [TAGS[2]])[0] - expected).abs().max()) < 1e-4
    mixed = ours(network, "first", [paths[2]], [TAGS[2]], amp=torch.bfloat16)[0]
    assert mixed.dtype is torch.float32
    assert float((mixed - expected).abs().max()) < 0.1
