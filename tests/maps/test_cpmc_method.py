"""`--method cpmc`: its flags, its checks, its features, and photos of all sizes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from pseudomask.config import ExtractConfig, WeightRule
from pseudomask.data.pixels import IMAGENET
from pseudomask.errors import UsageError, WeightsError
from pseudomask.maps import make_method
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.maps.cpmc.method import hierarchical
from pseudomask.maps.cpmc.settings import FIELDS, flag
from pseudomask.networks.card import Card
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork

CARD = Card(classes=tiny.CLASSES, method="recam", backbone=tiny.NARROW)


@pytest.fixture(scope="module")
def network() -> CamNetwork:
    return tiny.make_network()


def config(**more: Any) -> ExtractConfig:
    return ExtractConfig(images=Path("in"), out=Path("out"), method="cpmc", **more)


def photos(*sizes: tuple[int, int]) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.stack([torch.from_numpy(tiny.draw(tiny.CLASSES, size, rng)) for size in sizes])


def activate(network: CamNetwork, method: Cpmc, pixels: Tensor) -> Tensor:
    n = len(pixels)
    index, valid = torch.arange(3).expand(n, 3), torch.ones(n, 3, dtype=torch.bool)
    with torch.inference_mode():
        return method.activate(network, network.backbone(IMAGENET.to_input(pixels)), index, valid)


BASE: dict[str, Any] = {"gamma": 0.0, "iterations": 2, "contrast": 0.8, "complete": 1.0, "suppress": 0.5}
# What to change, from which start, so that the step behind the flag is at work.
SHARP = {"power": 30.0}  # a random network's features are all alike; the power tells them apart
LOCAL = SHARP | {"high": 0.5, "low": 0.5}
EFFECTS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "weights": ({}, ["first", "second", "sum"]),
    "refine": (SHARP, ["reassign", "both", "none"]),
    "iterations": (SHARP, [0, 1, 3]),
    "power": ({}, [1.0, 8.0]),
    "features": (SHARP | {"features": "hierarchical"}, ["last"]),
    "background": (SHARP, [0.1, 5.0]),
    "contrast": (SHARP, [0.0, 1.0]),
    "target": (LOCAL, ["classifier", "argmax"]),
    "high": (LOCAL | {"low": 0.3}, [0.7]),
    "low": (LOCAL, [0.1]),
    "complete": (LOCAL | {"complete": 0.0, "contrast": 0.95}, [1.0]),
    "suppress": (LOCAL | {"suppress": 0.0, "contrast": 0.0}, [1.0]),
    "calibration": (LOCAL | {"suppress": 1.0, "contrast": 0.0}, ["hard"]),
    "gamma": (SHARP, [5.0]),
    "output": (SHARP, ["refined"]),
}


def test_every_setting_is_tried() -> None:
    by_transformers = {"affinity"}  # tests/networks/test_timm_backbones.py
    assert set(EFFECTS) | by_transformers == {one.name for one in fields(CpmcSettings)}


@pytest.mark.parametrize("name", EFFECTS)
def test_every_flag_has_an_effect(network: CamNetwork, name: str) -> None:
    start, others = EFFECTS[name]
    pixels = photos((160, 192))
    before = CpmcSettings(**(BASE | start))
    found = [activate(network, Cpmc(before), pixels)]
    for value in others:
        given = {FIELDS[key]: setting for key, setting in vars_of(replace(before, **{name: value})).items()}
        method = make_method(config(**given), CARD)
        assert isinstance(method, Cpmc)
        found.append(activate(network, method, pixels))
    for i, one in enumerate(found):
        for other in found[:i]:
            assert (one - other).abs().max() > 1e-3


def vars_of(settings: CpmcSettings) -> dict[str, Any]:
    return {one.name: getattr(settings, one.name) for one in fields(settings)}


def test_defaults_are_those_of_the_flags() -> None:
    method = make_method(config(), CARD)
    assert method == Cpmc(CpmcSettings(), "product")
    assert method.threshold_key == "cpmc"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"cpmc_iterations": -1}, "--cpmc-iterations -1: a whole number of at least 0"),
        ({"cpmc_iterations": 1.5}, "--cpmc-iterations 1.5: a whole"),
        ({"cpmc_high": 0.1, "cpmc_low": 0.3}, "--cpmc-low 0.3 is above --cpmc-high 0.1"),
        ({"cpmc_high": 1.1}, "--cpmc-high 1.1: a number from 0 to 1"),
        ({"cpmc_low": -0.1}, "--cpmc-low -0.1: a number from 0 to 1"),
        ({"cpmc_power": 0.0}, "--cpmc-power 0.0: a number above 0"),
        ({"cpmc_lambda": -1.0}, "--cpmc-lambda -1.0: a number of at least 0"),
        ({"cpmc_gamma": float("nan")}, "--cpmc-gamma nan: a number of at least 0"),
        ({"cpmc_kappa": float("inf")}, "--cpmc-kappa inf"),
        ({"cpmc_refine": "twice"}, "--cpmc-refine 'twice' is unknown; there are propagate, reassign, both, none"),
        ({"calib_target": "mask"}, "--calib-target 'mask' is unknown"),
    ],
)
def test_impossible_settings_name_their_flag(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as error:
        make_method(config(**changed), CARD)
    assert error.value.exit_code == 2


def test_flags_are_spelled_as_on_the_command_line() -> None:
    assert [flag(name) for name in ("target", "suppress", "complete", "refine")] == [
        "--calib-target",
        "--cpmc-lambda",
        "--cpmc-kappa",
        "--cpmc-refine",
    ]


def test_auto_takes_what_the_weights_have(network: CamNetwork) -> None:
    plain = tiny.make_network(reactivated=False)
    auto = make_method(config(), replace(CARD, weight_rule="sum"))
    assert isinstance(auto, Cpmc)
    assert auto.rule(network) == "sum"
    assert auto.rule(plain) == "first"
    auto.check(plain)
    asked = make_method(config(cpmc_weights="second"), CARD)
    asked.check(network)
    with pytest.raises(WeightsError, match="pseudomask reactivate"):
        asked.check(plain)


def features(*stages: Tensor) -> Features:
    """Stages at strides 4 and 16, below a stem that is not to be read."""
    return Features((stages[0] * torch.nan, *stages), (4, 4, 16), (28, 36))


def test_hierarchical_features_are_the_stages_side_by_side() -> None:
    fine, coarse = torch.randn(1, 5, 7, 9), torch.randn(1, 3, 2, 3)
    found = hierarchical(features(fine, coarse))
    assert found.shape == (1, 8, 2, 3)
    length = coarse[0, :, 1, 2].norm()
    assert torch.allclose(found[0, 5:, 1, 2], coarse[0, :, 1, 2] / length, atol=1e-6)
    for place, cell in (((0, 0), fine[0, :, :4, :4]), ((1, 2), fine[0, :, 4:, 8:])):
        mean = cell.mean((1, 2))
        assert torch.allclose(found[0, :5, *place], mean / mean.norm(), atol=1e-6)
    halves = hierarchical(features(fine.bfloat16(), coarse.bfloat16()))
    assert halves.dtype is torch.bfloat16
    assert torch.allclose(halves.float(), found, atol=0.02)


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("size", [(16, 16), (17, 33), (65, 90), (100, 129)])
def test_all_stages_meet_on_one_grid(output_stride: int, size: tuple[int, int]) -> None:
    network = CamNetwork(3, tiny.NARROW, output_stride=output_stride).eval()
    with torch.inference_mode():
        found = hierarchical(network.backbone(torch.zeros(1, 3, *size)))
    assert found.shape == (1, 120, -(-size[0] // 16), -(-size[1] // 16))


def test_each_size_weighs_the_same(network: CamNetwork) -> None:
    found = activate(network, Cpmc(), photos((96, 128), (96, 128)))
    assert found.shape == (2, 3, 6, 8)
    assert found.dtype is torch.float32
    alive = found.amax((2, 3))
    assert torch.allclose(alive[alive > 0], torch.tensor(1.0), atol=0.01)


def test_the_grid_is_that_of_stride_16_at_stride_8_too() -> None:
    torch.manual_seed(0)
    fine = CamNetwork(3, tiny.NARROW, output_stride=8).eval()
    for features in ("last", "layer4", "hierarchical"):
        method = Cpmc(CpmcSettings(features=features))  # type: ignore[arg-type]
        assert activate(fine, method, photos((90, 130))).shape == (1, 3, 6, 9)


@pytest.mark.slow
def test_a_large_photo_works(network: CamNetwork) -> None:
    """2,000 × 1,500 pixels as they are: 94 × 125 positions, whose dense affinity would take 0.55 GB."""
    found = activate(network, Cpmc(), photos((1500, 2000)))
    assert found.shape == (1, 3, 94, 125)
    assert torch.isfinite(found).all()
    assert found.max() > 0.99


@pytest.mark.parametrize("which", ["table", "search"])
def test_the_ablation_computes_what_the_method_does(which: str) -> None:
    """The benchmark shares features and refined maps between its rows; each must still be the method's own map."""
    ablation = pytest.importorskip("benchmarks.cpmc_ablation", reason="benchmarks lie beside the package")
    network = tiny.make_network()
    network.add_side_heads()
    rules: tuple[WeightRule, ...] = ("first", "product")
    together = ablation.Variants(tuple((rule, one) for rule in rules for one in ablation.SETS[which].values()))
    pixels, n = photos((96, 128)), len(together.rows)
    index = torch.tensor([[2, 0, 1]])
    valid = torch.tensor([[True, True, False]])
    with torch.inference_mode():
        seen = network.backbone(IMAGENET.to_input(pixels))
        found = together.activate(network, seen, index.repeat(1, n), valid.repeat(1, n)).chunk(n, 1)
        for row, (rule, settings) in zip(found, together.rows, strict=True):
            alone = LinearMaps(rule) if settings is None else Cpmc(replace(settings, weights=rule))
            assert torch.equal(row, alone.activate(network, seen, index, valid))
