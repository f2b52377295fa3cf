"""Nothing trained is lost: weights after each epoch, an end before the last step, another number of epochs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from pseudomask.api import calibrate, reactivate, train_cls
from pseudomask.config import CalibrateConfig, ReactivateConfig, TrainClsConfig
from pseudomask.errors import RecordMismatch, UsageError
from pseudomask.networks.checkpoint import load_network, read_card, read_tensors
from pseudomask.running.jsonable import jsonable
from pseudomask.training.schedule import learning_rate_factor, schedules
from pseudomask.training.state import CHECKPOINT, LATEST

Settings = Callable[..., TrainClsConfig]


def differing(one: Path, other: Path) -> list[str]:
    """Names of the tensors of two weights files that differ."""
    mine, theirs = read_tensors(one)[0], read_tensors(other)[0]
    return [name for name in mine if not torch.equal(mine[name], theirs[name])]


def record_of(run: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "run.json").read_text())
    return content


def test_each_epoch_leaves_usable_weights_until_the_training_is_finished(runs: Path, settings: Settings) -> None:
    """Stopped at step 3 of 6 (epochs of 2): the weights are those of a training that was finished at step 2."""
    train_cls(settings(runs / "x"), tiny.StopsAt(3))
    _, card = load_network(runs / "x" / LATEST)
    assert (card.classes, card.method, card.training["steps"]) == (("bar", "disc", "square"), "cam", 2)
    assert card.measured[0]["what"] == "mean average precision of the tags"
    train_cls(settings(runs / "y"), tiny.StopsAt(2))
    done = train_cls(settings(runs / "y", finish=True))
    assert done.weights == runs / "y/weights.safetensors"
    assert differing(runs / "x" / LATEST, done.weights) == []
    train_cls(settings(runs / "x"))
    assert not (runs / "x" / LATEST).exists()
    assert (runs / "x/weights.safetensors").exists()
    assert "steps" not in read_card(runs / "x/weights.safetensors").training


def test_weights_of_an_epoch_survive_a_kill(runs: Path, settings: Settings) -> None:
    child = Path(__file__).with_name("resume_child.py")
    environment = os.environ | {"PYTHONPATH": str(Path(tiny.__file__).parent)}
    command = [sys.executable, str(child), json.dumps(jsonable(settings(runs / "x", epochs=50)))]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment)
    try:
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end and not (runs / "x" / LATEST).exists():
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert load_network(runs / "x" / LATEST)[1].training["steps"] >= 2
    done = train_cls(settings(runs / "x", epochs=50, finish=True))
    assert done.weights is not None
    assert load_network(done.weights)[1].training["steps"] == done.facts["steps"] < 100


def test_finish_ends_a_stopped_training_with_weights_and_card(runs: Path, settings: Settings) -> None:
    ear = tiny.StopsAt(3)
    train_cls(settings(runs / "x", checkpoint_every=100), ear)
    assert any("--finish" in warning for warning in ear.warnings)
    result = train_cls(settings(runs / "x", finish=True))
    assert (result.exit_code, result.facts["steps"], result.facts["steps_planned"]) == (0, 3, 6)
    assert result.weights is not None
    card = read_card(result.weights)
    assert (card.training["steps"], card.training["steps_planned"]) == (3, 6)
    assert card.measured
    state, _ = read_tensors(runs / "x" / CHECKPOINT)
    weights, _ = read_tensors(result.weights)
    assert [name for name in weights if not torch.equal(weights[name], state[f"network.{name}"])] == []
    train_cls(settings(runs / "whole"))
    train_cls(settings(runs / "x"))
    assert differing(result.weights, runs / "whole/weights.safetensors") == [], "it can still be trained on"


def test_finish_in_the_other_trainings(runs: Path, settings: Settings) -> None:
    weights = train_cls(settings(runs / "cls", epochs=1)).weights
    base = jsonable(settings(runs / "unset"))
    for verb, config in ((reactivate, ReactivateConfig), (calibrate, CalibrateConfig)):
        names = {"images", "labels", "crop", "batch_size", "seed", "amp", "device", "workers", "val_fraction"}
        shared = {name: value for name, value in base.items() if name in names}
        shared |= {"images": Path(shared["images"]), "labels": Path(shared["labels"]), "weights": weights}
        made = config(run=runs / config.__name__, lr_head=1.0, **shared)
        verb(made, tiny.StopsAt(1, unit="steps"))  # type: ignore[operator]
        done = verb(replace(made, finish=True))  # type: ignore[operator]
        assert done.weights is not None
        assert read_card(done.weights).training["steps"] == done.facts["steps"] == 1


def test_finish_needs_a_checkpoint_and_keeps_it(runs: Path, settings: Settings) -> None:
    with pytest.raises(UsageError, match="no checkpoint that --finish"):
        train_cls(settings(runs / "x", finish=True))
    assert not (runs / "x").exists()
    train_cls(settings(runs / "x"), tiny.StopsAt(2))
    with pytest.raises(UsageError, match="--finish keeps what --overwrite would remove"):
        train_cls(settings(runs / "x", finish=True, overwrite=True))
    assert (runs / "x" / CHECKPOINT).exists()


@pytest.mark.parametrize("epochs", [2, 5])
def test_another_number_of_epochs_is_a_choice(runs: Path, settings: Settings, epochs: int) -> None:
    train_cls(settings(runs / "x"), tiny.StopsAt(3))
    ear = tiny.Ear()
    result = train_cls(settings(runs / "x", epochs=epochs), ear)
    assert result.facts["steps"] == result.facts["steps_planned"] == 2 * epochs
    now, before = (learning_rate_factor(3, 2 * n, power=0.9, warmup=0) for n in (epochs, 3))
    assert any(f"next factor {now:.3f}, not {before:.3f}" in info for info in ear.infos)
    told = [{"epochs": 3, "until_step": 3}, {"epochs": epochs}]
    assert record_of(runs / "x")["protocol"]["schedules"] == told  # type: ignore[index]
    assert result.weights is not None
    assert read_card(result.weights).training["schedules"] == told
    with pytest.raises(RecordMismatch, match=f"epochs was {epochs}, now 9"):
        train_cls(settings(runs / "x", epochs=9))  # it is finished


def test_fewer_epochs_than_are_done_is_refused_before_anything_is_written(runs: Path, settings: Settings) -> None:
    train_cls(settings(runs / "x"), tiny.StopsAt(3))
    before = (runs / "x/run.json").read_bytes()
    with pytest.raises(UsageError, match=r"3 steps done are more than the 2 of --epochs 1; add --finish"):
        train_cls(settings(runs / "x", epochs=1))
    assert (runs / "x/run.json").read_bytes() == before


def test_schedules_add_up() -> None:
    first = {"protocol": {}, "config": {"epochs": 3}}
    assert schedules(first, 3, 4) == []
    second = {"protocol": {"schedules": schedules(first, 5, 4)}, "config": {"epochs": 5}}
    assert schedules(second, 5, 7) == [{"epochs": 3, "until_step": 4}, {"epochs": 5}]
    assert schedules(second, 6, 7)[1:] == [{"epochs": 5, "until_step": 7}, {"epochs": 6}]


def test_the_forecast_of_a_resumed_training_counts_its_own_steps_alone(runs: Path, settings: Settings) -> None:
    train_cls(settings(runs / "x"), tiny.StopsAt(4))
    totals: list[int | None] = []
    counted: list[int] = []

    class Counts(tiny.StopsAt):
        def progress(self, total: int | None, label: str, unit: str = "images") -> object:  # type: ignore[override]
            totals.append(total)
            return super().progress(total, label, unit)

        def advance(self, n: int = 1, **shown: object) -> None:
            counted.append(n)

    train_cls(settings(runs / "x"), Counts(0))
    assert (totals, counted) == ([2], [1, 1])
