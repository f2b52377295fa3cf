"""Early stopping on the held-out loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from pseudomask.api import train_cls
from pseudomask.config import TrainClsConfig
from pseudomask.networks.checkpoint import read_card, read_tensors
from pseudomask.training import session
from pseudomask.training.early import BEST, EarlyStop
from pseudomask.training.validation import enough_to_tell

Settings = Callable[..., TrainClsConfig]
LOSSES = (0.6, 0.4, 0.5, 0.45, 0.3, 0.2)
"""By epoch: with a patience of 2 it ends after the fourth, and the second is the best."""


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out losses that follow `LOSSES`, recognised by the weights that they were first measured for."""
    true, seen = session.validate, list[torch.Tensor]()

    def validate(network: Any, *args: Any, **more: Any) -> Any:
        row = network.classifier.weight.detach().clone()
        which = next((i for i, one in enumerate(seen) if torch.equal(one, row)), len(seen))
        if which == len(seen):
            seen.append(row)
        measured = true(network, *args, **more)
        assert measured is not None
        return replace(measured, loss=LOSSES[which])

    monkeypatch.setattr(session, "validate", validate)
    monkeypatch.setattr(session, "enough_to_tell", lambda photos, positive: True)


def test_it_ends_early_with_the_weights_of_the_best_epoch(runs: Path, settings: Settings, staged: None) -> None:
    ear = tiny.Ear()
    config = settings(runs / "x", epochs=6, patience=2)
    result = train_cls(config, ear)
    assert (result.exit_code, result.facts["steps"], result.facts["steps_planned"]) == (0, 8, 12)
    assert result.facts["held_out_loss"] == 0.4
    assert any("stopped early" in info and "of epoch 2" in info for info in ear.infos)
    assert result.weights is not None
    best, facts = read_tensors(config.run / BEST)
    weights, _ = read_tensors(result.weights)
    assert facts["step"] == "4"
    assert [name for name in weights if not torch.equal(weights[name], best[name])] == []
    card = read_card(result.weights).training
    assert (card["steps"], card["steps_planned"], card["patience"]) == (4, 12, 2)
    before = result.weights.read_bytes()
    again = train_cls(config)
    assert again.weights is not None
    assert (again.weights.read_bytes(), again.facts["steps"]) == (before, 8)


@pytest.mark.parametrize("step", [3, 5, 7])
def test_it_resumes_with_what_it_has_counted(runs: Path, settings: Settings, staged: None, step: int) -> None:
    whole = train_cls(settings(runs / "whole", epochs=6, patience=2)).weights
    train_cls(settings(runs / "x", epochs=6, patience=2), tiny.StopsAt(step))
    result = train_cls(settings(runs / "x", epochs=6, patience=2))
    assert whole is not None
    assert result.weights is not None
    assert result.weights.read_bytes() == whole.read_bytes()
    assert result.facts["steps"] == 8


def test_without_the_best_weights_the_last_are_taken(runs: Path, settings: Settings, staged: None) -> None:
    config = settings(runs / "x", epochs=6, patience=2)
    train_cls(config)
    (config.run / BEST).write_bytes(b"no weights")
    ear = tiny.Ear()
    result = train_cls(config, ear)
    assert any(BEST in warning for warning in ear.warnings)
    assert result.facts["held_out_loss"] == 0.45


@pytest.mark.parametrize("patience", [0, 6])
def test_it_is_off_without_patience_or_epochs_to_wait(
    runs: Path, settings: Settings, staged: None, patience: int
) -> None:
    config = settings(runs / "x", epochs=6, patience=patience)
    assert train_cls(config).facts["steps"] == 12
    assert not (config.run / BEST).exists()


def test_too_few_held_out_photos_end_nothing() -> None:
    assert not enough_to_tell(6, 3)
    assert not enough_to_tell(100, 2)
    assert enough_to_tell(100, 20)


def test_epochs_are_counted_from_the_lowest_loss() -> None:
    early = EarlyStop(patience=2)
    assert [early.see(step, loss) for step, loss in enumerate((0.6, 0.7, 0.5, 0.5))] == [True, False, True, False]
    assert not early.over
    early.see(4, float("nan"))
    assert early.over
    taken_up = EarlyStop(patience=2)
    taken_up.resume(early.to_text())
    assert taken_up == early
