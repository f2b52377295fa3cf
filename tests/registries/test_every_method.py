"""What every CAM method must do with every kind of class map; a new one is covered by its line in `METHODS` or `CAMS`.

Methods run with plain maps, and `recam` and `cpmc` with each of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import taught
import tiny
import torch
from torch import Tensor

from pseudomask.config import ExtractConfig
from pseudomask.errors import WeightsError
from pseudomask.extracting.engine import Engine
from pseudomask.extracting.photos import Photo
from pseudomask.maps import METHODS, make_method
from pseudomask.maps.cams import CAMS
from pseudomask.maps.cams.lpcam import Prototypes
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps, recording, see
from pseudomask.networks.card import Card
from pseudomask.networks.edge_weights import backbone_hash
from pseudomask.networks.network import CamNetwork
from pseudomask.running.reporter import SilentReporter

Make = Callable[..., MapMethod]

INDEX = torch.tensor([[2, 0, 0], [0, 1, 2], [1, 0, 0]])
VALID = torch.tensor([[True, False, False], [True, True, True], [True, False, False]])
ALL = torch.ones_like(VALID)


MORE: dict[str, dict[str, Any]] = {
    "advcam": {"advcam_iterations": 3},  # fast
    "layercam 2": {"layercam_stages": 2},
}
"""Settings other than the defaults, by kind of class map."""
KINDS = [f"{method}-{cam}" for method in ("recam", "cpmc") for cam in (*CAMS, *MORE) if cam != "plain"]


@pytest.fixture(params=[*taught.names(METHODS), *dict.fromkeys(KINDS)])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Makes the method for weights of these classes, with its default settings."""
    name, _, cam = request.param.partition("-")
    if name not in METHODS:
        taught.teach(monkeypatch, name)
    more = {"cam": cam.partition(" ")[0] or "plain"} | MORE.get(cam, {})
    config = ExtractConfig(images=Path("unused"), out=Path("unused"), method=name, **more)

    def made(classes: tuple[str, ...] = tiny.CLASSES) -> MapMethod:
        own = {"lpcam_prototypes": prototypes(tmp_path, classes)} if cam == "lpcam" else {}
        return make_method(replace(config, **own), Card(classes=classes, method=name, backbone=tiny.NARROW))

    return made


def prototypes(place: Path, classes: tuple[str, ...]) -> Path:
    """A file for the weights of `build`."""
    generator = torch.Generator().manual_seed(1)
    parts = tuple(torch.rand(4, 64, generator=generator) for _ in classes)
    context = tuple(torch.zeros(0, 64) for _ in classes)  # so that random features have some score
    rule = "product" if len(classes) > 1 else "first"
    Prototypes(parts, context, classes, rule, backbone_hash(build().backbone), {}).save(place / "p.safetensors")
    return place / "p.safetensors"


@pytest.fixture
def method(make: Make) -> MapMethod:
    return make()


def build(classes: int = 3, **more: bool) -> CamNetwork:
    torch.manual_seed(0)
    return CamNetwork(classes, tiny.NARROW, **more).eval()


@pytest.fixture(scope="module")
def network() -> CamNetwork:
    """Weights that have been through `reactivate`."""
    return tiny.make_network()


def draw(count: int = 3, size: tuple[int, int] = (48, 64)) -> Tensor:
    """uint8 (count, *size, 3)."""
    rng = np.random.default_rng(0)
    if min(size) < 5:
        return torch.from_numpy(rng.integers(0, 256, (count, *size, 3), dtype=np.uint8))
    return torch.stack([torch.from_numpy(tiny.draw(tiny.CLASSES, size, rng)) for _ in range(count)])


def activate(
    method: MapMethod, network: CamNetwork, pixels: Tensor, index: Tensor = INDEX, valid: Tensor = ALL
) -> Tensor:
    features = see(network, method, pixels, (False,), amp=None)
    with recording(method):
        return method.activate(network, features, index, valid).detach()


def added(method: MapMethod, network: CamNetwork, pixels: Tensor, *tags: Tensor, **more: Any) -> Tensor:
    """Maps of two sizes and their mirrors."""
    half = pixels.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).float().mean((2, 4)).byte()
    return multiscale_maps(network, method, [pixels, half], *tags, size=(48, 64), **more)


def alike(some: Tensor, others: Tensor, most: float = 1e-3) -> bool:
    return float((some - others).abs().max()) <= most * float(others.abs().max())


@pytest.mark.parametrize("size", [(48, 64), (37, 53), (16, 600), (1, 1)])
def test_shape_type_and_range(method: MapMethod, network: CamNetwork, size: tuple[int, int]) -> None:
    maps = activate(method, network, draw(size=size))
    assert maps.shape[:2] == INDEX.shape
    assert maps.dim() == 4
    assert maps.dtype is torch.float32
    assert maps.isfinite().all()
    assert maps.min() >= 0
    if size == (48, 64):
        assert (maps.amax((2, 3)) > 0).all(), "a map of zeros shows nothing of its class"
        assert not torch.equal(maps[1, 0], maps[1, 1]), "each class has a map of its own"


def test_its_threshold_is_one(method: MapMethod) -> None:
    assert method.threshold_key.isidentifier()
    assert 0 < method.default_threshold < 1


def test_the_same_photos_give_the_same_maps(method: MapMethod, network: CamNetwork) -> None:
    pixels = draw()
    assert torch.equal(activate(method, network, pixels), activate(method, network, pixels))


def test_threads_change_nothing_that_shows(method: MapMethod, network: CamNetwork) -> None:
    pixels = draw()
    alone = activate(method, network, pixels)
    try:
        torch.set_num_threads(2)
        both = activate(method, network, pixels)
    finally:
        torch.set_num_threads(1)
    assert alike(both, alone)


def test_companions_do_not_change_a_photos_maps(method: MapMethod, network: CamNetwork) -> None:
    pixels = draw()
    together = added(method, network, pixels, INDEX, VALID)
    assert together.shape == (3, 3, 12, 16)
    assert 0 <= together.min() <= together.max() < 1
    assert not together.requires_grad
    for i in range(3):
        used = int(VALID[i].sum())
        alone = added(method, network, pixels[i : i + 1], INDEX[i : i + 1, :used], VALID[i : i + 1, :used])
        assert alike(together[i, :used], alone[0])


def test_what_lies_in_unused_places_is_ignored(method: MapMethod, network: CamNetwork) -> None:
    pixels, other = draw(), INDEX.clone()
    other[~VALID] = 2
    found, wanted = (activate(method, network, pixels, index, VALID)[VALID] for index in (other, INDEX))
    assert alike(found, wanted)


def test_a_mirrored_photo_has_mirrored_maps(method: MapMethod, network: CamNetwork) -> None:
    pixels = draw()
    maps, turned = (added(method, network, seen, INDEX, VALID) for seen in (pixels, pixels.flip(2)))
    assert alike(turned[VALID].flip(-1), maps[VALID])
    once = added(method, network, pixels, INDEX, VALID, mirrored=False)
    assert not alike(once[VALID], maps[VALID]), "else the mirror is never seen"


def test_photos_without_tags_have_no_map_and_disturb_none(method: MapMethod, network: CamNetwork) -> None:
    pixels = draw()
    engine = Engine(
        network=network, method=method, device=torch.device("cpu"), amp=None, tag_thresholds=torch.zeros(3),
        plain_scale=0, mirrored=True, max_side=640, stride=4, largest=4, reporter=SilentReporter(),
    )  # fmt: skip
    photos = [Photo(i, (48, 64), (one,)) for i, one in enumerate(pixels)]
    none, one, judged = (made.scores for made in engine.make(photos, [(), (1,), None]))
    alone = engine.make(photos[1:2], [(1,)])[0].scores
    assert (none.classes, none.values.shape) == ((), (0, 12, 16))
    assert (one.classes, judged.classes) == ((2,), (1, 2, 3))
    assert np.abs(one.values - alone.values).max() < 1e-3
    assert [made.scores.classes for made in engine.make(photos, [()] * 3)] == [()] * 3


def test_weights_of_one_class_will_do(make: Make) -> None:
    for more in ({}, {"reactivated": True}):
        method, network = make(("thing",)), build(1, **more)
        method.check(network)
        maps = activate(method, network, draw(), torch.zeros(3, 1, dtype=torch.int64), ALL[:, :1])
        assert maps.isfinite().all()
        assert maps.min() >= 0


@pytest.mark.parametrize("more", [{}, {"reactivated": True}, {"reactivated": True, "calibrated": True}])
def test_what_the_weights_lack_is_said_before_the_first_photo(method: MapMethod, more: dict[str, bool]) -> None:
    """Either `check` names the verb or the flag that helps, or the method runs."""
    network, problem = build(**more), ""
    try:
        method.check(network)
    except WeightsError as error:
        problem = str(error)
    if problem:
        assert "`pseudomask " in problem or "--" in problem
        assert "\n" not in problem
    else:
        assert activate(method, network, draw()).isfinite().all()
    method.check(build(reactivated=True, calibrated=True))  # there are weights for each method


def test_the_features_stay_as_they_were(method: MapMethod, network: CamNetwork) -> None:
    """Classifier and boundary head read the same."""
    with recording(method):
        features = see(network, method, draw(), (False,), amp=None)
        before = [one.detach().clone() for one in features.outputs]
        method.activate(network, features, INDEX, ALL)
    assert all(torch.equal(one, was) for one, was in zip(features.outputs, before, strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_it_asks_for_what_it_uses_and_no_more(method: MapMethod, network: CamNetwork) -> None:
    """Gradients cost speed and earlier stages memory, so neither is declared in vain."""
    features = see(network, method, draw(), (False,), amp=None)
    if method.pyramid:
        alone = replace(features, outputs=features.outputs[-1:], strides=features.strides[-1:])
        with recording(method), pytest.raises(ValueError, match="pyramid"):
            method.activate(network, alone, INDEX, ALL)
    if method.gradients:
        with torch.inference_mode(), pytest.raises(RuntimeError, match="grad"):
            method.activate(network, features.detach(), INDEX, ALL)
    assert (features.image is not None) == method.image
    if method.image:
        with recording(method), pytest.raises(AssertionError):
            method.activate(network, replace(features, image=None), INDEX, ALL)
