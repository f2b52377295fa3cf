"""`calibrate`: its loss, what its gradients reach, and the verb from weights to masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from pseudomask.api import calibrate, extract, reactivate, train_cls
from pseudomask.config import CalibrateConfig, ExtractConfig, ReactivateConfig, TrainClsConfig
from pseudomask.errors import UsageError, WeightsError
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.networks.checkpoint import load_network, read_tensors
from pseudomask.training import calibrate as calibrate_module
from pseudomask.training.calibrate import calibration_step, consistency_loss

Settings = Callable[..., TrainClsConfig]
STEP = CpmcSettings(features="heads", power=2.0, iterations=2, contrast=0.8, complete=1.0, suppress=0.5)


def again(kind: type, config: TrainClsConfig, weights: Path | None, **changes: Any) -> Any:
    """Settings for a verb that goes on from weights, sharing all that train-cls has."""
    shared = {f.name for f in fields(kind)} & {f.name for f in fields(TrainClsConfig)}
    return kind(**{name: getattr(config, name) for name in shared} | {"weights": weights} | changes)


@pytest.fixture(scope="module")
def weights(room: Path, settings: Settings) -> Path:
    """Weights of reactivate, with both classifiers."""
    first = train_cls(settings(room / "for-calibrate"))
    config = again(ReactivateConfig, settings(room / "re"), first.weights, run=room / "re-for-calibrate")
    second = reactivate(config)
    assert second.weights is not None
    return second.weights


def test_consistency_loss_by_hand() -> None:
    target = torch.zeros(2, 2, 1, 2)
    found = torch.zeros(2, 2, 1, 2)
    target[0, 0] = torch.tensor([[1.0, 0.5]])
    found[0, 1] = torch.tensor([[0.5, 0.0]])
    found[1, 1] = 7.0  # an unused place
    valid = torch.tensor([[True, True], [True, False]])
    # photo 0: classes 0.75 and 0.25; backgrounds (0, 0.5) and (0.5, 1): 0.5; over 3 planes
    # photo 1: its class is equal; its background sees the unused place, which real maps leave at 0
    assert consistency_loss(target[:1], found[:1], valid[:1]).item() == pytest.approx(0.5)
    found[1, 1] = 0
    assert consistency_loss(target, found, valid).item() == pytest.approx(0.25)
    assert consistency_loss(target, target, valid).item() == 0


@pytest.mark.parametrize("through_classifier", [True, False])
def test_gradients_of_the_heads_stop_at_the_stages(monkeypatch: pytest.MonkeyPatch, through_classifier: bool) -> None:
    """The classifier's map teaches the backbone; with that way cut, nothing does."""
    network = tiny.make_network()
    torch.manual_seed(0)
    network.add_side_heads()
    assert network.side_heads is not None
    if not through_classifier:
        maps = calibrate_module.classifier_maps

        def detached(cam: Any, network: Any, seen: Any, context: Tensor, weights: Tensor, *tags: Tensor) -> Tensor:
            return maps(cam, network, seen, context.detach(), weights.detach(), *tags)

        monkeypatch.setattr(calibrate_module, "classifier_maps", detached)
    images, tags = torch.randn(2, 3, 96, 96), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    loss, parts = calibration_step(STEP, "second", 0.5)(network, images, tags)
    assert loss.item() == pytest.approx(parts["bce"].item() + 0.5 * parts["difference"].item())
    parts["difference"].backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in network.side_heads)
    reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.backbone.parameters()]
    assert all(reached) if through_classifier else not any(reached)


def test_training_brings_the_maps_together(weights: Path, settings: Settings, runs: Path) -> None:
    steps = {"cpmc_power": 2.0, "cpmc_iterations": 2, "cpmc_contrast": 0.8, "cpmc_kappa": 1.0, "cpmc_lambda": 0.5}
    config = again(CalibrateConfig, settings(runs), weights, run=runs / "c", epochs=8, lr=0.0, lr_head=1.0, **steps)
    ear = tiny.Ear()
    result = calibrate(config, ear)
    assert result.exit_code == 0
    assert result.weights is not None
    network, card = load_network(result.weights)
    before, _ = load_network(weights)
    assert network.side_heads is not None
    assert (card.method, card.backbone) == ("cpmc", tiny.NARROW)
    assert [h["epochs"] for h in card.training["history"]] == [3, 3]
    assert card.training["starts_from"]["file"] == "weights.safetensors"
    assert torch.equal(network.classifier.weight, before.classifier.weight)
    assert all(
        torch.equal(value, network.backbone.state_dict()[name]) for name, value in before.backbone.state_dict().items()
    )
    torch.manual_seed(0)
    before.add_side_heads()
    images = torch.stack([torch.from_numpy(tiny.draw(tiny.CLASSES, (96, 96), tiny.np.random.default_rng(3)))])
    x = (images.permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225
    step = calibration_step(STEP, "product", 1.0)
    with torch.no_grad():
        untrained = step(before, x, torch.ones(1, 3))[1]["difference"]
        trained = step(network, x, torch.ones(1, 3))[1]["difference"]
    assert trained < untrained


def test_extract_takes_the_heads(weights: Path, settings: Settings, runs: Path, room: Path) -> None:
    done = calibrate(again(CalibrateConfig, settings(runs), weights, run=runs / "c", epochs=1))
    assert done.weights is not None

    def masks(name: str, **more: Any) -> dict[str, bytes]:
        config = ExtractConfig(
            images=room / "photos", out=runs / name, method="cpmc", refine=("none",),
            labels=room / "photos.csv", scales="1.0",
            device="cpu", amp="off", workers=0, **({"weights": done.weights} | more),
        )  # fmt: skip
        assert extract(config).exit_code == 0
        return {p.name: p.read_bytes() for p in sorted((runs / name / "scores").rglob("*.npz"))}

    auto = masks("auto")
    assert masks("heads", cpmc_features="heads") == auto
    assert masks("stages", cpmc_features="hierarchical") != auto
    with pytest.raises(WeightsError, match="pseudomask calibrate"):
        masks("none", cpmc_features="heads", weights=weights)


def test_the_run_is_resumed_exactly(weights: Path, settings: Settings, runs: Path) -> None:
    config = again(CalibrateConfig, settings(runs), weights, run=runs / "x", lr_head=0.5)
    stopped = calibrate(config, tiny.StopsAt(3))
    assert stopped.weights is None
    resumed = calibrate(config)
    whole = calibrate(again(CalibrateConfig, settings(runs), weights, run=runs / "whole", lr_head=0.5))
    assert resumed.weights is not None
    assert whole.weights is not None
    mine, theirs = read_tensors(resumed.weights)[0], read_tensors(whole.weights)[0]
    assert [name for name in theirs if not torch.equal(mine[name], theirs[name])] == []


def test_thresholds_of_maps_that_stay_are_kept(room: Path, settings: Settings, runs: Path) -> None:
    start = tiny.write_weights(runs / "w", thresholds={"first": 0.1, "cpmc": 0.4}, weight_rule="second")
    kept = calibrate(again(CalibrateConfig, settings(runs), start, run=runs / "a", epochs=1, freeze="layer4"))
    moved = calibrate(again(CalibrateConfig, settings(runs), start, run=runs / "b", epochs=1, freeze="stem"))
    assert kept.weights is not None
    assert moved.weights is not None
    card = load_network(kept.weights)[1]
    assert (card.thresholds, card.weight_rule) == ({"first": 0.1}, "second")
    assert load_network(moved.weights)[1].thresholds == {}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"weights": None}, "--weights"),
        ({"cpmc_iterations": -1}, "--cpmc-iterations -1"),
        ({"cpmc_high": 0.1, "cpmc_low": 0.5}, "--cpmc-low 0.5 is above --cpmc-high 0.1"),
    ],
)
def test_what_cannot_be(weights: Path, settings: Settings, runs: Path, changes: dict[str, Any], complaint: str) -> None:
    config = again(CalibrateConfig, settings(runs), **({"weights": weights} | changes), run=runs / "x")
    with pytest.raises(UsageError, match=complaint):
        calibrate(config)
    assert not (runs / "x").exists()


def test_a_classifier_that_is_not_there(settings: Settings, runs: Path) -> None:
    plain = tiny.write_weights(runs / "w", reactivated=False)
    config = again(CalibrateConfig, settings(runs), plain, run=runs / "x", cpmc_weights="product")
    with pytest.raises(WeightsError, match="pseudomask reactivate"):
        calibrate(config)
    assert not (runs / "x").exists()


def test_auto_calibrates_the_rule_of_the_card() -> None:
    network = tiny.make_network()
    assert Cpmc(STEP, "sum").rule(network) == "sum"
