"""How train-cls begins: with the closed form, enough steps and, if asked for, weights for rare tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from torch.nn import functional as F

from pseudomask.api import train_cls
from pseudomask.config import TrainClsConfig
from pseudomask.errors import NothingLearned, RecordMismatch
from pseudomask.networks.checkpoint import load_network, read_card
from pseudomask.training.losses import balanced_weights, classification_loss
from pseudomask.training.schedule import epochs_for
from pseudomask.training.start import calibrated

Settings = Callable[..., TrainClsConfig]
HARDLY = {"lr": 1e-9, "lr_head": 1e-9, "epochs": 1}


def classifier(path: Path | None) -> torch.Tensor:
    assert path is not None
    return load_network(path)[0].classifier.weight.detach().flatten(1)


def test_it_begins_with_the_closed_form(runs: Path, settings: Settings) -> None:
    """Steps of 1e-9 leave the start as it was: the direction of --fit lda, and no more confident."""
    ear = tiny.Ear()
    begun = train_cls(settings(runs / "x", start=None, **HARDLY), ear)
    fitted = classifier(train_cls(settings(runs / "lda", fit="lda")).weights)
    rows = classifier(begun.weights)
    assert F.cosine_similarity(rows, fitted).min() > 0.999
    assert (rows.norm(dim=1) <= fitted.norm(dim=1) * 1.001).all()
    with pytest.raises(NothingLearned, match="still random"):
        train_cls(settings(runs / "random", start="random", **HARDLY))
    assert read_card(runs / "x/weights.safetensors").training["start"] == "lda"


@pytest.mark.parametrize("at", [5, 18 + 3])
def test_stopped_while_looking_or_training_it_ends_the_same(runs: Path, settings: Settings, at: int) -> None:
    whole = train_cls(settings(runs / "whole", start="lda"))
    stopped = train_cls(settings(runs / "x", start="lda"), tiny.StopsAt(at))
    assert (stopped.exit_code, stopped.weights) == (143, None)
    again = train_cls(settings(runs / "x", start="lda"))
    assert whole.weights is not None
    assert again.weights is not None
    assert again.weights.read_bytes() == whole.weights.read_bytes()


def test_logits_are_scaled_to_what_the_tags_bear_out() -> None:
    tags = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    logits = torch.tensor([[2.0, 2.0], [2.0, 2.0], [-2.0, -2.0], [-2.0, -2.0]])
    assert calibrated(logits, tags).tolist() == pytest.approx([1.0, 0.05])


def test_steps_decide_where_photos_are_few() -> None:
    assert epochs_for(100, 60, 16, least=5) == 34  # of 3 steps
    assert epochs_for(100, 4, 16, least=5) == 100
    assert epochs_for(100, 2000, 16, least=5) == 5


def test_epochs_are_added_unless_they_are_given(runs: Path, settings: Settings) -> None:
    plan = dict(train_cls(settings(runs / "x", epochs=0, min_steps=15, dry_run=True)).understood)
    assert plan["training"] == "8 epochs of 2 steps"
    done = train_cls(settings(runs / "x", epochs=0, min_steps=15))
    assert done.facts["steps"] == 16
    assert read_card(runs / "x/weights.safetensors").training["epochs"] == 8
    assert train_cls(settings(runs / "x", epochs=0, min_steps=40)).facts["steps"] == 16, "RUN has decided"
    given = dict(train_cls(settings(runs / "y", epochs=2, min_steps=15, dry_run=True)).understood)
    assert given["training"] == "2 epochs of 2 steps"


def test_a_training_of_an_earlier_version_is_still_the_same(runs: Path, settings: Settings) -> None:
    """Version 0.1.0 knew neither --start nor --patience, and had 5 epochs."""
    made = train_cls(settings(runs / "x", epochs=5, start="random"))
    assert made.weights is not None
    before = made.weights.read_bytes()
    record = json.loads((runs / "x/run.json").read_text())
    for name in ("start", "patience", "class_weights", "min_steps"):
        del record["config"][name]
    (runs / "x/run.json").write_text(json.dumps(record))
    train_cls(settings(runs / "x", epochs=0, start=None, min_steps=100))
    assert made.weights.read_bytes() == before
    with pytest.raises(RecordMismatch, match="start was"):
        train_cls(settings(runs / "x", epochs=0, start="lda"))


def test_weights_of_rare_tags_by_hand() -> None:
    tags = torch.zeros(63, 4)
    tags[:9, 0] = 1  # 54 without
    tags[:2, 1] = 1  # 61 without: more than 20 times as many
    tags[:, 2] = 1
    assert balanced_weights(tags).tolist() == pytest.approx([6.0, 20.0, 1.0, 1.0])
    logits, seen = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    plain = F.softplus(torch.tensor([0.0, 1.0]))
    loss = classification_loss(logits, seen, torch.tensor([6.0, 3.0]))
    assert loss.item() == pytest.approx(float((6 * plain[0] + plain[1]) / 2))


def test_class_weights_change_the_training(runs: Path, settings: Settings) -> None:
    config = settings(runs / "x", epochs=1)
    plain = classifier(train_cls(config).weights)
    result = train_cls(replace(config, run=runs / "y", class_weights="balanced"))
    assert not torch.equal(classifier(result.weights), plain)
    assert read_card(runs / "y/weights.safetensors").training["class_weights"] == "balanced"
