"""`calibrate`: its loss, what its gradients reach, and the verb from weights to masks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from pseudomask.api import calibrate, extract, reactivate, train_cls
from pseudomask.config import CalibrateConfig, ExtractConfig, ReactivateConfig, TrainClsConfig
from pseudomask.errors import UsageError, WeightsError
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.networks.checkpoint import load_network, read_card, read_tensors
from pseudomask.training.calibrate import calibration_step
from pseudomask.training.confident import LabelledCrops
from pseudomask.training.losses import positive_index
from pseudomask.training.regions_loss import (
    LEVEL,
    TEMPERATURE,
    region_loss,
    region_weights,
    tags_of,
    to_places,
)
from pseudomask.training.teaching import SEEDS
from pseudomask.training.train_affinity import LABELS

Settings = Callable[..., TrainClsConfig]
STEP = CpmcSettings(features="heads", power=2.0, iterations=2, contrast=0.8, complete=1.0, suppress=0.5)


def again(kind: type, config: TrainClsConfig, weights: Path | None, **changes: Any) -> Any:
    """Settings for a verb that goes on from weights, sharing all that train-cls has."""
    shared = {f.name for f in fields(kind)} & {f.name for f in fields(TrainClsConfig)}
    return kind(**{name: getattr(config, name) for name in shared} | {"weights": weights} | changes)


def extraction_of(room: Path, out: Path, weights: Path | None, **more: Any) -> ExtractConfig:
    return ExtractConfig(
        images=room / "photos", out=out, weights=weights, labels=room / "photos.csv", refine=("none",), scales="1.0",
        device="cpu", amp="off", workers=0, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def weights(room: Path, settings: Settings) -> Path:
    """Weights of reactivate, with both classifiers."""
    first = train_cls(settings(room / "for-calibrate"))
    config = again(ReactivateConfig, settings(room / "re"), first.weights, run=room / "re-for-calibrate")
    second = reactivate(config)
    assert second.weights is not None
    return second.weights


def places(labels: Tensor, classes: int = 3, block: float = 4) -> tuple[Tensor, Tensor, Tensor]:
    """At every position of the labels, which are 4 pixels apart, or of a grid of larger blocks."""
    index, valid = positive_index(tags_of(labels, classes))
    size = math.ceil(labels.shape[1] * 4 / block), math.ceil(labels.shape[2] * 4 / block)
    return index, valid, to_places(labels, index, valid, size, (block, block))


def test_labels_become_places() -> None:
    """0 is ignore, 1 background, 2 and 4 the classes 0 and 2."""
    index, valid, found = places(torch.tensor([[[0, 1, 2, 4]], [[1, 1, 3, 0]]]))
    assert index.tolist() == [[0, 2], [1, 0]]
    assert valid.tolist() == [[True, True], [True, False]]
    assert found.tolist() == [[[-1, 0, 1, 2]], [[0, 0, 1, -1]]]


def test_places_of_a_grid_are_the_nearest() -> None:
    labels = torch.ones(1, 8, 8, dtype=torch.int32)
    labels[:, :4, 4:] = 2
    assert places(labels, block=16)[2].tolist() == [[[0, 1], [0, 0]]]


def test_the_last_places_may_lie_beyond_the_crop() -> None:
    """A crop of 34 pixels has 9 labels and 3 positions of 16 pixels; the centre of the last is at label 10."""
    labels = torch.ones(1, 1, 9, dtype=torch.int32)
    labels[..., 5:7], labels[..., 8] = 2, 3
    assert places(labels, block=16)[2].tolist() == [[[0, 1, 2]]]


def test_a_crop_without_classes_or_labels() -> None:
    for value in (0, 1):
        index, valid, found = places(torch.full((1, 4, 4), value))
        maps = torch.zeros(1, index.shape[1], 4, 4, requires_grad=True)
        weights = region_weights(maps, found, missing=1.0, noise=1.0)
        loss = region_loss(maps, found, weights, valid)
        loss.backward()
        assert loss.item() == 0


def test_regions_weigh_what_they_are_told() -> None:
    """Positions: hit, false negative, false positive, right background, unknown, taken for the other class."""
    refined = torch.tensor([[[[0.9, 0.2, 0.8, 0.1, 0.9, 0.3]], [[0.1, 0.1, 0.1, 0.1, 0.1, 0.9]]]])
    labels = torch.tensor([[[1, 1, 0, 0, -1, 1]]])
    found = region_weights(refined, labels, missing=3.0, noise=0.5)
    assert found.tolist() == [[[1, 3, 0.5, 1, 0, 3]]]


def test_region_loss_by_hand() -> None:
    """Two labels of 1 and 3 positions: each position weighs 1 / √(its label's number)."""
    found = torch.tensor([[[[0.8, 0.1, 0.5, 0.2]], [[7.0] * 4]]])  # the second place is unused
    labels, valid = torch.tensor([[[1, 0, 0, 0]]]), torch.tensor([[True, False]])
    chances = (found[0, 0, 0] - LEVEL) / TEMPERATURE
    losses = torch.nn.functional.softplus(torch.tensor([-1.0, 1, 1, 1]) * chances)
    expected = (losses[0] + losses[1:].sum() / 3**0.5) / (1 + 3 / 3**0.5)
    assert region_loss(found, labels, torch.ones(1, 1, 4), valid).item() == pytest.approx(expected.item())
    twice = region_loss(found.repeat(2, 1, 1, 1), labels.repeat(2, 1, 1), torch.ones(2, 1, 4), valid.repeat(2, 1))
    assert twice.item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("freeze", "reached"), [("all", ()), ("layer3", ("layer4",))])
def test_gradients_reach_the_heads_and_what_is_not_frozen(freeze: str, reached: tuple[str, ...]) -> None:
    network = tiny.make_network()
    torch.manual_seed(0)
    network.add_side_heads()
    assert network.side_heads is not None
    network.backbone.freeze(freeze)
    labels = torch.randint(0, 5, (2, 24, 24), dtype=torch.int32)
    loss, parts = calibration_step(STEP, "second")(network, torch.randn(2, 3, 96, 96), labels)
    assert 0 <= parts["agreed"].item() <= 1
    loss.backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in network.side_heads)
    with_gradient = {
        name.split(".")[0] for name, p in network.backbone.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert with_gradient == set(reached)
    assert network.classifier.weight.grad is None


def test_training_makes_the_maps_what_the_labels_are(weights: Path, settings: Settings, runs: Path) -> None:
    steps = {"cpmc_power": 2.0, "cpmc_iterations": 2, "cpmc_contrast": 0.8}
    config = again(CalibrateConfig, settings(runs), weights, run=runs / "c", epochs=8, lr=0.0, lr_head=1.0, **steps)
    result = calibrate(config)
    assert result.exit_code == 0
    assert result.weights is not None
    network, card = load_network(result.weights)
    before, _ = load_network(weights)
    assert network.side_heads is not None
    assert (card.method, card.backbone) == ("cpmc", tiny.NARROW)
    assert [h["epochs"] for h in card.training["history"]] == [3, 3]
    assert card.training["starts_from"]["file"] == "weights.safetensors"
    assert card.training["starts_from"]["teacher"] is None
    assert torch.equal(network.classifier.weight, before.classifier.weight)
    assert all(
        torch.equal(value, network.backbone.state_dict()[name]) for name, value in before.backbone.state_dict().items()
    )
    torch.manual_seed(0)
    before.add_side_heads()
    keys = sorted(path.stem for path in (runs / "c" / LABELS).glob("*.png"))
    photos = {path.stem: path for path in config.images.rglob("*.*")}
    data = LabelledCrops(
        [photos[key] for key in keys], [runs / "c" / LABELS / f"{key}.png" for key in keys],
        crop=96, sides=(96, 96), seed=0, around=np.zeros(3, np.uint8),
    )  # fmt: skip
    drawn = [data[0, n] for n in range(len(keys))]
    x = (torch.stack([pixels for pixels, _, _ in drawn]).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225
    labels = torch.stack([one for _, one, _ in drawn])
    step = calibration_step(STEP, "product")
    with torch.no_grad():
        untrained, trained = (step(one.eval(), x, labels)[0].item() for one in (before, network))
    assert trained < 0.9 * untrained


def test_the_seeds_are_made_once_and_may_be_others(
    weights: Path, settings: Settings, runs: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = calibrate(again(CalibrateConfig, settings(runs), weights, run=runs / "a", epochs=1))
    assert (runs / "a" / SEEDS / "scores").is_dir()
    monkeypatch.setattr("pseudomask.extracting.engine.see", None)  # nothing is extracted any more
    second = calibrate(
        again(CalibrateConfig, settings(runs), weights, run=runs / "b", seeds=runs / "a" / SEEDS, epochs=1)
    )
    assert not (runs / "b" / SEEDS).exists()
    assert first.weights is not None
    assert second.weights is not None
    mine, theirs = read_tensors(first.weights)[0], read_tensors(second.weights)[0]
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_seeds_of_other_weights(weights: Path, settings: Settings, runs: Path) -> None:
    calibrate(again(CalibrateConfig, settings(runs), weights, run=runs / "a", epochs=1))
    others = tiny.write_weights(runs / "w", seed=7)
    config = again(CalibrateConfig, settings(runs), others, run=runs / "b", seeds=runs / "a" / SEEDS, epochs=1)
    with pytest.raises(UsageError, match="choose another RUN, or other --seeds"):
        calibrate(config)
    assert not (runs / "b").exists()


def test_a_second_calibration_learns_from_the_first(weights: Path, settings: Settings, runs: Path) -> None:
    first = calibrate(again(CalibrateConfig, settings(runs), weights, run=runs / "a", epochs=1))
    second = calibrate(again(CalibrateConfig, settings(runs), first.weights, run=runs / "b", epochs=1))
    assert second.weights is not None
    record = json.loads((runs / "b" / SEEDS / "run.json").read_text())
    assert record["config"]["weights"] == str(first.weights), "the seeds are those of the first heads"


def test_the_teacher_is_what_extract_makes(settings: Settings, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the seeds stays beside the walk of the bundled head, if that knows the classes."""
    seeds = None
    for knows, share in ((False, 0.0), (True, 0.5)):
        (place := runs / f"head-{knows}").mkdir()
        head = tiny.write_affinity(place, knows=knows)
        monkeypatch.setattr("pseudomask.training.teaching.bundled_head", lambda _, head=head: head)
        own = place / "cam.safetensors"
        config = again(CalibrateConfig, settings(runs), own, run=runs / f"run-{knows}", seeds=seeds, epochs=1)
        made = calibrate(config)
        seeds = runs / f"run-{knows}" / SEEDS
        assert made.weights is not None
        assert load_network(made.weights)[1].training["starts_from"]["teacher"]["seeds"] == share
    labels = [sorted((runs / f"run-{knows}" / LABELS).rglob("*.png")) for knows in (False, True)]
    assert [one.read_bytes() for one in labels[0]] != [one.read_bytes() for one in labels[1]]


def test_each_kind_of_region_teaches(
    weights: Path, settings: Settings, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny.make_network()
    torch.manual_seed(0)
    network.add_side_heads()
    images, labels = torch.randn(2, 3, 96, 96), torch.randint(0, 5, (2, 24, 24), dtype=torch.int32)
    losses = {
        (fn, fp): calibration_step(STEP, "second", missing=fn, noise=fp)(network, images, labels)[0].item()
        for fn in (0.0, 1.0)
        for fp in (0.0, 1.0)
    }
    assert len(set(losses.values())) == 4
    asked: dict[str, float] = {}

    def step(*_: Any, **weights: float) -> Any:
        asked.update(weights)
        return calibration_step(*_, **weights)

    monkeypatch.setattr("pseudomask.training.calibrate.calibration_step", step)
    calibrate(again(CalibrateConfig, settings(runs), weights, run=runs / "a", epochs=1, fn_weight=0.5, fp_weight=2.0))
    assert asked == {"missing": 0.5, "noise": 2.0}


def test_extract_takes_the_heads(weights: Path, settings: Settings, runs: Path, room: Path) -> None:
    done = calibrate(again(CalibrateConfig, settings(runs), weights, run=runs / "c", epochs=1))
    assert done.weights is not None

    def masks(name: str, **more: Any) -> dict[str, bytes]:
        config = extraction_of(room, runs / name, more.pop("weights", done.weights), method="cpmc", **more)
        assert extract(config).exit_code == 0
        return {p.name: p.read_bytes() for p in sorted((runs / name / "scores").rglob("*.npz"))}

    auto = masks("auto")
    assert masks("heads", cpmc_features="heads") == auto
    assert masks("stages", cpmc_features="hierarchical") != auto
    with pytest.raises(WeightsError, match="pseudomask calibrate"):
        masks("none", cpmc_features="heads", weights=weights)


def test_the_run_is_resumed_exactly(weights: Path, settings: Settings, runs: Path) -> None:
    config = again(CalibrateConfig, settings(runs), weights, run=runs / "x", lr_head=0.5)
    stopped = calibrate(config, tiny.StopsAt(3, unit="steps"))
    assert stopped.weights is None
    resumed = calibrate(config)
    whole = calibrate(again(CalibrateConfig, settings(runs), weights, run=runs / "whole", lr_head=0.5))
    assert resumed.weights is not None
    assert whole.weights is not None
    mine, theirs = read_tensors(resumed.weights)[0], read_tensors(whole.weights)[0]
    assert [name for name in theirs if not torch.equal(mine[name], theirs[name])] == []


def test_the_card_keeps_what_was_measured_of_a_classifier_that_stays(
    weights: Path, settings: Settings, runs: Path
) -> None:
    """Photos that are held out now may have trained it."""
    before = read_card(weights)
    assert before.measured
    cards = []
    for freeze in ("all", "stem"):
        config = again(
            CalibrateConfig, settings(runs), weights, run=runs / freeze, epochs=1, freeze=freeze, val_fraction=0.5
        )
        done = calibrate(config)
        assert done.weights is not None
        cards.append(read_card(done.weights))
    kept, anew = cards
    assert (kept.measured, kept.tag_thresholds) == (before.measured, before.tag_thresholds)
    assert anew.measured != before.measured


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
        ({"teacher": "nowhere.safetensors"}, "nowhere.safetensors: no such weights file"),
        ({"cpmc_high": 0.1, "cpmc_low": 0.5}, "--cpmc-low 0.5 is above --cpmc-high 0.1"),
    ],
)
def test_what_cannot_be(weights: Path, settings: Settings, runs: Path, changes: dict[str, Any], complaint: str) -> None:
    config = again(CalibrateConfig, settings(runs), **({"weights": weights} | changes), run=runs / "x")
    with pytest.raises((UsageError, WeightsError), match=complaint):
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
