"""The kinds of class map, each against its published formula in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from pseudomask.config import ExtractConfig, WeightRule
from pseudomask.errors import UsageError, WeightsError
from pseudomask.maps import make_method
from pseudomask.maps.cam import LinearMaps, present_class_maps
from pseudomask.maps.cams import CAMS, NOT_HERE, make_cam, training_cam
from pseudomask.maps.cams.ablation import AblationCam
from pseudomask.maps.cams.advcam import AdvCam
from pseudomask.maps.cams.finer import FinerCam
from pseudomask.maps.cams.gradcampp import GradCamPlusPlus
from pseudomask.maps.cams.layercam import LayerCam
from pseudomask.maps.cams.lpcam import LpCam, Prototypes
from pseudomask.maps.cams.plain import Plain
from pseudomask.maps.cams.softmax import SoftmaxCam
from pseudomask.maps.cams.variant import Cam
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.multiscale import recording, see
from pseudomask.networks.card import Card
from pseudomask.networks.edge_weights import backbone_hash
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.training.losses import softmax_loss

CARD = Card(classes=tiny.CLASSES, method="recam", backbone=tiny.NARROW)
CLOSED = ("softmax", "finer", "layercam", "gradcampp", "ablation")


@pytest.fixture(scope="module")
def network() -> CamNetwork:
    return tiny.make_network()


def config(**more: Any) -> ExtractConfig:
    return ExtractConfig(images=Path("in"), out=Path("out"), **{"method": "recam"} | more)


def planted(d: int = 6, classes: int = 4, photos: int = 2) -> tuple[Tensor, Tensor]:
    """Features (B, D, 3, 4) ≥ 0 and weights (C, D), float64."""
    generator = torch.Generator().manual_seed(3)
    features = torch.rand(photos, d, 3, 4, generator=generator, dtype=torch.float64)
    return features, torch.randn(classes, d, generator=generator, dtype=torch.float64) + 0.3


def made(cam: Cam, features: Tensor, weights: Tensor, index: Tensor) -> Tensor:
    """Maps divided by their maximum, (B, N, h, w) float64."""
    seen = Features((features.float(),), (16,), (48, 64))
    table = weights.float()[..., None, None]
    return top(cam.maps(None, seen, table, index, torch.ones_like(index) > 0).double())  # type: ignore[arg-type]


def top(maps: Tensor) -> Tensor:
    return maps / maps.amax((-2, -1), keepdim=True).clamp(min=1e-30)


INDEX = torch.tensor([[2, 0, 1], [3, 1, 0]])


def by_gradient(score: Any, features: Tensor, weights: Tensor) -> Tensor:
    """ReLU(Σ_d ∂score/∂f_d(p) f_d(p)) for each entry of INDEX, by autograd: Grad-CAM's general form."""
    found = []
    for photo, classes in zip(features, INDEX, strict=True):
        for c in classes:
            f = photo.clone().requires_grad_()
            (slope,) = torch.autograd.grad(score(weights @ f.mean((1, 2)), int(c)), f)
            found.append((slope * photo).sum(0).relu())
    return top(torch.stack(found).view(*INDEX.shape, *features.shape[-2:]))


def test_softmax_is_the_gradient_of_the_probability() -> None:
    features, weights = planted()
    wanted = by_gradient(lambda z, c: z.softmax(0)[c], features, weights)
    shown = wanted.amax((2, 3)) > 0
    assert shown.sum() > 3
    assert torch.allclose(made(SoftmaxCam(), features, weights, INDEX)[shown], wanted[shown], atol=1e-5)


def test_shapleycam_is_plain_cam() -> None:
    """Its channels weigh the mean of ∂z/∂f − ½ (∂²z/∂f²) f (Cai, 2025), and the logit has no second derivative."""
    features, weights = planted()
    found = []
    for photo, classes in zip(features, INDEX, strict=True):
        for c in classes:
            logit = lambda f, row=weights[int(c)]: row @ f.mean((1, 2))  # noqa: E731
            slope = torch.autograd.functional.jacobian(logit, photo)
            second = torch.autograd.functional.hvp(logit, photo, photo)[1]
            found.append(torch.einsum("d,dhw->hw", (slope - second / 2).mean((1, 2)), photo).relu())
    wanted = top(torch.stack(found).view(*INDEX.shape, *features.shape[-2:]))
    assert torch.allclose(made(Plain(), features, weights, INDEX), wanted, atol=1e-5)


def test_softmax_of_a_certain_class_is_not_empty() -> None:
    """At s_c = 1 the gradient itself is 0; a photo with one tag is of this kind."""
    features, weights = planted()
    certain = weights.clone()
    certain[2] += 200
    assert made(SoftmaxCam(), features, certain, torch.tensor([[2], [2]])).amax((2, 3)).min() == 1
    alone = made(SoftmaxCam(), features, weights[:1].abs(), torch.zeros(2, 1, dtype=torch.int64))
    assert torch.allclose(alone, top(torch.einsum("d,bdhw->bhw", weights[0].abs(), features))[:, None], atol=1e-5)


@pytest.mark.parametrize("cam", [SoftmaxCam(), FinerCam(5.0)])
def test_a_class_whose_rivals_win_everywhere_keeps_its_plain_map(cam: Cam) -> None:
    features, weights = planted()
    weights = weights.abs() * torch.tensor([0.1, 1, 1, 1])[:, None]
    found = made(cam, features, weights, torch.tensor([[0], [0]]))
    assert torch.allclose(found[:, 0], top(torch.einsum("d,bdhw->bhw", weights[0], features)), atol=1e-5)


def test_finer_subtracts_the_look_alikes_of_the_weights() -> None:
    features, weights = planted()
    weights[3] = weights[0] + 0.01  # 0 and 3 are alike
    unit = weights / weights.norm(dim=1, keepdim=True)
    cosine = unit @ unit.T
    for count in (1, 2, 3, 9):

        def score(z: Tensor, c: int, count: int = count) -> Tensor:
            others = sorted((k for k in range(4) if k != c), key=lambda k: -float(cosine[c, k]))[:count]
            return z[c] - 0.25 * z[others].mean()

        found = made(FinerCam(0.25, count), features, weights, INDEX)
        assert torch.allclose(found, by_gradient(score, features, weights), atol=1e-4)


def test_finer_takes_pairs_of_names() -> None:
    cam = make_cam(config(cam="finer", finer_alike=("bar:disc",), finer_weight=0.5), CARD)
    assert cam == FinerCam(0.5, 3, ((0, 1),))
    features, weights = planted(classes=3)
    found = made(cam, features, weights, torch.tensor([[0, 1, 2], [0, 1, 2]]))
    mixed = torch.stack([weights[0] - weights[1] / 2, weights[1] - weights[0] / 2, weights[2]])
    plain = top(torch.einsum("cd,bdhw->bchw", mixed, features).relu())
    assert torch.allclose(found, plain, atol=1e-4)
    colon = replace(CARD, classes=("a:b", "c", "d"))
    assert make_cam(config(cam="finer", finer_alike=("a:b:d",)), colon) == FinerCam(0.6, 3, ((0, 2),))


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        ("bar:disk", "--finer-alike bar:disk: the weights have no class 'disk'.*disc"),
        ("bar", "pairs of two different classes"),
        ("bar:bar", "pairs of two different classes"),
        ("bar:disc:square", "pairs of two different classes"),
    ],
)
def test_pairs_that_are_none(pair: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        make_cam(config(cam="finer", finer_alike=(pair,)), CARD)


def test_layercam_of_the_last_stage_needs_no_gradient(network: CamNetwork) -> None:
    """What autograd finds there is the positive weights: one path for one stage, the other for several."""
    pixels = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    index, valid = torch.tensor([[2, 0], [1, 1]]), torch.ones(2, 2) > 0
    several = LinearMaps("product", LayerCam(2))
    features = see(network, several, pixels, (False,), amp=None)
    logits = (features.last.mean((2, 3)) @ network.map_weights("product").flatten(1).T).gather(1, index)
    for n in range(2):
        slopes = torch.autograd.grad(logits[:, n].sum(), features.stages[-2:], retain_graph=True)
        fine, coarse = (top((s.relu() * x).sum(1)) for s, x in zip(slopes, features.stages[-2:], strict=True))
        one = LinearMaps("product", LayerCam()).activate(network, features, index, valid)[:, n]
        assert torch.allclose(top(one), coarse, atol=1e-4)
        both = several.activate(network, features, index, valid)[:, n]
        assert torch.allclose(both, torch.maximum(fine, coarse), atol=1e-3)  # both stages are at stride 16
    with pytest.raises(UsageError, match="--layercam-stages 7: narrow has 4"):
        LinearMaps("first", LayerCam(7)).check(network)


def test_gradcampp_is_the_papers_formula() -> None:
    """α from the second and third derivatives of exp(z_c), by autograd, one feature and position at a time."""
    features, weights = planted(d=4)
    found = made(GradCamPlusPlus(), features, weights, INDEX)
    for b in range(2):
        for n in range(3):
            w, f = weights[INDEX[b, n]], features[b]
            positions = f.shape[1] * f.shape[2]
            channel = []
            for d in range(4):
                x = f[d, 0, 0].clone().requires_grad_()  # the derivatives are the same at each position
                rest = (w * f.mean((1, 2))).sum() - w[d] * f[d, 0, 0] / positions
                first = torch.autograd.grad((rest + w[d] * x / positions).exp(), x, create_graph=True)[0]
                second = torch.autograd.grad(first, x, create_graph=True)[0]
                third = torch.autograd.grad(second, x)[0]
                alpha = second / (2 * second + f[d].sum() * third)
                channel.append(float((positions * alpha * first.relu()).detach()))
            wanted = top((torch.tensor(channel)[:, None, None] * f).sum(0).relu())
            assert torch.allclose(found[b, n], wanted, atol=1e-5)


def test_ablation_is_what_the_logit_loses() -> None:
    features, weights = planted()
    found = made(AblationCam(), features, weights.abs(), INDEX)
    for b in range(2):
        for n in range(3):
            w = weights[INDEX[b, n]].abs()
            whole = (w * features[b].mean((1, 2))).sum()
            drops = []
            for d in range(6):
                without = features[b].clone()
                without[d] = 0
                drops.append((whole - (w * without.mean((1, 2))).sum()) / whole)
            wanted = top((torch.stack(drops)[:, None, None] * features[b]).sum(0).relu())
            assert torch.allclose(found[b, n], wanted, atol=1e-5)


def loop(network: CamNetwork, image: Tensor, weights: Tensor, c: int, cam: AdvCam) -> Tensor:
    """AdvCAM of one photo and class, from the paper's description, in the network's own precision."""
    x, low, high = image, image.min(), image.max()
    maps: list[Tensor] = []
    for _ in range(cam.iterations):
        x = x.detach().requires_grad_()
        f = network.backbone(x[None], pyramid=False).last[0]
        share = torch.stack([(w[:, None, None] * f).sum(0) for w in weights]) / (f.shape[1] * f.shape[2])
        region = share[c].clamp(min=0)
        maps.append(region.detach())
        logits = share.sum((1, 2)).clamp(min=0)
        others = sum(logits[k] for k in range(len(weights)) if k != c)
        mask = maps[-1] / maps[-1].max() > cam.mask
        goal = logits[c] - others - cam.penalty * (region - maps[0]).abs()[mask].sum()
        goal.backward()
        assert x.grad is not None
        x = (x + cam.rate * x.grad / x.grad.abs().max()).clamp(low, high)
    network.zero_grad()
    return torch.stack(maps).mean(0)


def test_advcam_is_an_independent_loop() -> None:
    exact = tiny.make_network().double()
    pixels = torch.stack(
        [torch.from_numpy(tiny.draw(tiny.CLASSES, (64, 80), np.random.default_rng(i))) for i in (0, 1)]
    )
    index, valid = torch.tensor([[2, 0], [1, 0]]), torch.tensor([[True, True], [True, False]])
    cam = AdvCam(iterations=5, rate=0.3, mask=0.5, penalty=7.0)
    method = LinearMaps("first", cam)
    network = tiny.make_network()
    features = see(network, method, pixels, (False,), amp=None)
    assert features.image is not None
    with recording(method):
        found = method.activate(network, features, index, valid).double()
    table = exact.classifier.weight.detach().flatten(1)
    plain = LinearMaps("first").activate(network, features, index, valid).detach().double()
    for b, n in valid.nonzero():
        wanted = loop(exact, features.image[b].double(), table, int(index[b, n]), cam)
        assert torch.allclose(top(found[b, n]), top(wanted), atol=1e-3)
        assert (top(found[b, n]) - top(plain[b, n])).abs().max() > 0.02, "five steps change something"


def test_advcam_settings_each_do_something(network: CamNetwork) -> None:
    pixels = torch.from_numpy(tiny.draw(tiny.CLASSES, (64, 80), np.random.default_rng(0)))[None]
    index = torch.tensor([[2]])
    start = {"advcam_iterations": 4, "advcam_rate": 0.5, "advcam_mask": 0.3}
    found = []
    for more in ({}, {"advcam_iterations": 8}, {"advcam_rate": 0.1}, {"advcam_mask": 0.9}, {"advcam_penalty": 0.0}):
        method = make_method(config(cam="advcam", **start | more), CARD)
        features = see(network, method, pixels, (False,), amp=None)
        with recording(method):
            found.append(top(method.activate(network, features, index, index > -1)))
    for i, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-4 for other in found[:i])


def test_advcam_halves_what_it_changes_together(network: CamNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randint(0, 256, (2, 48, 64, 3), dtype=torch.uint8)
    index = torch.tensor([[2, 0, 1], [1, 0, 2]])
    cam = AdvCam(iterations=2)
    method = LinearMaps("first", cam)
    features = see(network, method, pixels, (False,), amp=None)

    def run() -> Tensor:
        with recording(method):
            return method.activate(network, features, index, index > -1)

    wanted, true, sizes = run(), network.backbone.forward, []

    def short(x: Tensor, **more: Any) -> Features:
        sizes.append(len(x))
        if len(x) > 2:
            raise MemoryError
        return true(x, **more)

    monkeypatch.setattr(network.backbone, "forward", short)
    assert torch.allclose(run(), wanted, atol=1e-5)
    assert cam.together <= 2
    sizes.clear()
    run()
    assert max(sizes) <= 2, "it remembers"


def file_of(place: Path, network: CamNetwork, **more: Any) -> Path:
    generator = torch.Generator().manual_seed(0)
    parts, context = (tuple(torch.rand(k, 64, generator=generator) for k in (3, 1, 0)) for _ in range(2))
    facts = {"classes": tiny.CLASSES, "rule": "product", "backbone": backbone_hash(network.backbone), "made": {}}
    Prototypes(parts, context, **facts | more).save(place / "p.safetensors")
    return place / "p.safetensors"


def test_lpcam_is_a_difference_of_mean_cosines(tmp_path: Path, network: CamNetwork) -> None:
    path = file_of(tmp_path, network)
    cam = make_cam(config(cam="lpcam", lpcam_prototypes=path), CARD)
    assert isinstance(cam, LpCam)
    features, weights = planted(d=64, classes=3)
    features -= 0.3  # else all cosines are alike
    index = torch.tensor([[0, 1, 2]] * 2)
    seen = Features((features.float(),), (16,), (48, 64))
    found = cam.maps(network, seen, weights.float()[..., None, None], index, index > -1)
    for c in (0, 1):
        cosines = [
            torch.stack([torch.cosine_similarity(features, p.double()[None, :, None, None]) for p in kind[c]]).mean(0)
            for kind in (cam.prototypes.parts, cam.prototypes.context)
        ]
        wanted = (cosines[0] - cosines[1]).relu()
        assert wanted.max() > 0
        assert torch.allclose(found[:, c].double(), wanted, atol=1e-6)
    plain = present_class_maps(features.float(), weights.float()[..., None, None], index)
    assert torch.equal(found[:, 2], plain[:, 2]), "a class without prototypes has its plain map"


def test_lpcam_says_what_it_lacks(tmp_path: Path, network: CamNetwork) -> None:
    def made_of(path: Path | None, card: Card = CARD) -> Cam:
        return make_cam(config(cam="lpcam", lpcam_prototypes=path), card)

    with pytest.raises(UsageError, match=r"`pseudomask prototypes .*--lpcam-prototypes"):
        made_of(None)
    with pytest.raises(WeightsError, match="no such file; make it with `pseudomask prototypes`"):
        made_of(tmp_path / "none")
    weights = tiny.write_weights(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="not a prototypes file; make one with `pseudomask prototypes"):
        made_of(weights)
    path = file_of(tmp_path, network)
    with pytest.raises(WeightsError, match=r"other classes.*`pseudomask prototypes"):
        made_of(path, replace(CARD, classes=("bar", "square", "disc")))
    made_of(path).check(network, "product")
    with pytest.raises(WeightsError, match=r"rule product, but this run uses first.*prototypes --recam-weights first`"):
        made_of(path).check(network, "first")
    with pytest.raises(WeightsError, match=r"another backbone.*`pseudomask prototypes"):
        made_of(path).check(tiny.make_network(seed=1), "product")


@pytest.mark.parametrize("name", [*NOT_HERE, "Grad-CAM", "reciprocam", "Score_CAM"])
def test_known_names_that_are_no_kind_of_their_own(name: str) -> None:
    with pytest.raises(UsageError, match="--cam") as error:
        make_method(config(cam=name), CARD)
    text = str(error.value)
    assert ("equals plain CAM" in text) == ("use --cam plain" in text)
    assert ("score" in name.lower() or name in ("eigencam", "fullgrad")) != ("equals plain CAM" in text)
    assert "\n" not in text


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match=f"unknown --cam 'layercan'.*did you mean 'layercam'.*{', '.join(CAMS)}"):
        make_method(config(cam="layercan"), CARD)


@pytest.mark.parametrize("name", CLOSED)
def test_every_rule_goes_with_every_kind(network: CamNetwork, name: str) -> None:
    """The kind gets the rule's weights, of both classifiers' product the product's sign."""
    pixels = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    index = torch.tensor([[0, 1, 2]])
    cam = make_cam(config(cam=name), CARD)
    with torch.inference_mode():
        features = see(network, LinearMaps("first"), pixels, (False,), amp=None)
        found = []
        for rule in get_args(WeightRule):
            method = make_method(config(cam=name, recam_weights=rule), CARD)
            found.append(top(method.activate(network, features, index, index > -1)))
            alone = cam.maps(network, features, network.map_weights(rule), index, index > -1)
            assert torch.equal(found[-1], top(alone))
    for i, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-4 for other in found[:i])


@pytest.mark.parametrize("name", CLOSED)
def test_cpmc_starts_from_it(network: CamNetwork, name: str) -> None:
    pixels, index = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8), torch.tensor([[0, 1, 2]])
    cam = make_cam(config(cam=name), CARD)
    with torch.inference_mode():
        features = see(network, Cpmc(), pixels, (False,), amp=None)
        unrefined = CpmcSettings(output="refined", iterations=0, weights="sum")
        found = Cpmc(unrefined, cam=cam).activate(network, features, index, index > -1)
        plain = LinearMaps("sum", cam).activate(network, features, index, index > -1)
        assert torch.allclose(found, top(plain), atol=1e-2)
        whole = make_method(config(method="cpmc", cam=name, cpmc_power=30.0), CARD)
        base = make_method(config(method="cpmc", cpmc_power=30.0), CARD)
        ours, theirs = (one.activate(network, features, index, index > -1) for one in (whole, base))
        assert (ours - theirs).abs().max() > 1e-3


def test_finer_grids_are_averaged_for_cpmc(network: CamNetwork) -> None:
    """LayerCAM of three stages comes at stride 8, CPMC works at 16."""
    pixels, index = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8), torch.tensor([[0, 1]])
    method = make_method(config(method="cpmc", cam="layercam", layercam_stages=3), CARD)
    features = see(network, method, pixels, (False,), amp=None)
    with recording(method):
        found = method.activate(network, features, index, index > -1)
    assert found.shape == (1, 2, 4, 6)
    assert not found.requires_grad


def test_thresholds_are_kept_by_rule_and_kind() -> None:
    assert make_method(config(), CARD).threshold_key == "product"
    assert make_method(config(cam="softmax"), CARD).threshold_key == "product_softmax"
    assert make_method(config(method="cam", cam="finer"), CARD).threshold_key == "first_finer"
    assert make_method(config(method="cpmc", cam="finer"), CARD).threshold_key == "cpmc_finer"
    assert make_method(config(method="cpmc"), CARD).threshold_key == "cpmc"


@pytest.mark.parametrize("name", CLOSED)
def test_training_pools_features_under_it(name: str) -> None:
    """Another loss than with plain maps, and gradients for features and both classifiers."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 6, 3, 4, generator=generator, requires_grad=True)
    first, second = (torch.randn(3, 6, 1, 1, generator=generator, requires_grad=True) for _ in range(2))
    tags = torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    cam = training_cam(config(cam=name), CARD)
    loss, _ = softmax_loss(features, first, second, tags, cam)
    loss.backward()
    assert abs(float(loss.detach()) - float(softmax_loss(features, first, second, tags)[0].detach())) > 1e-4
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in (features, first, second))


@pytest.mark.parametrize("name", ["lpcam", "advcam"])
def test_training_refuses_what_is_not_in_closed_form(name: str) -> None:
    with pytest.raises(UsageError, match=f"--cam {name} is for extract only; training can use plain, softmax"):
        training_cam(config(cam=name), CARD)
