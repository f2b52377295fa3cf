"""Trainings that go wrong: no NaN reaches a file, the last sound state stays, and one line says what to change."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pseudomask.api import calibrate, reactivate, train_cls
from pseudomask.config import CalibrateConfig, ReactivateConfig, TrainClsConfig
from pseudomask.errors import (
    LabelError,
    NothingLearned,
    PseudomaskError,
    TrainingDiverged,
    UsageError,
    WeightsError,
)
from pseudomask.measuring.average_precision import chance_precision
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, read_tensors, save_network, write_tensors
from pseudomask.training import reactivate as reactivate_module
from pseudomask.training import session
from pseudomask.training import train_cls as train_cls_module
from pseudomask.training.guard import Guard, broken
from pseudomask.training.split import gather
from pseudomask.training.state import CHECKPOINT, PREVIOUS
from pseudomask.training.trainer import Trainer
from pseudomask.training.validation import Validation

Settings = Callable[..., TrainClsConfig]


def again(kind: type, config: TrainClsConfig, weights: Path | None, **changes: Any) -> Any:
    shared = {f.name for f in fields(kind)} & {f.name for f in fields(TrainClsConfig)}
    return kind(**{name: getattr(config, name) for name in shared} | {"weights": weights} | changes)


def all_finite(run: Path) -> None:
    """Of every file in RUN."""
    for path in run.glob("*.safetensors"):
        assert broken(read_tensors(path)[0]) == "", path.name
    for line in (run / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    json.loads((run / "run.json").read_text(), parse_constant=pytest.fail)


def fails(config: TrainClsConfig, words: str, kind: type[PseudomaskError] = TrainingDiverged) -> str:
    with pytest.raises(kind, match=words) as caught:
        train_cls(config)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert not (config.run / "weights.safetensors").exists()
    all_finite(config.run)
    return str(caught.value)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[Trainer], None]) -> None:
    """Do something to the training right after that step's descent."""
    true = Trainer._report

    def report(self: Trainer, done: int, *args: Any) -> None:
        if done == step:
            with torch.no_grad():
                act(self)
        true(self, done, *args)

    monkeypatch.setattr(Trainer, "_report", report)


def test_a_held_out_loss_that_is_no_number(runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last epoch: exit 1, no weights, and the epoch before is where a resume begins."""
    true, calls = session.validate, 0

    def validate(*args: Any, **more: Any) -> Validation | None:
        nonlocal calls
        calls += 1
        found = true(*args, **more)
        return found if calls % 3 else Validation(math.nan, {}, (0.5,) * 3)

    monkeypatch.setattr(session, "validate", validate)
    config = settings(runs / "x", checkpoint_every=100)
    told = fails(config, r"epoch 3, step 6: the held-out loss is not a number")
    for word in ("--lr (now 0.002, try 0.0002)", "--clip 1", "--overwrite", "the checkpoint of step 4 is kept"):
        assert word in told
    assert "--amp" not in told, "it is off"
    assert read_tensors(runs / "x" / CHECKPOINT)[1]["step"] == "4"
    monkeypatch.undo()
    ear = tiny.Ear()
    assert train_cls(config, ear).exit_code == 0
    assert "resuming from step 4 of 6" in ear.infos


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", ["weight", "buffer", "momentum"])
def test_no_checkpoint_of_a_broken_state(
    runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, place: str, value: float
) -> None:
    """The loss of the step was finite; what came of it is not."""

    def act(self: Trainer) -> None:
        if place == "weight":
            self.network.classifier.weight[0, 0] = value  # type: ignore[union-attr,index]
        elif place == "buffer":
            self.network.get_buffer("backbone.layer1.0.bn1.running_mean")[0] = value
        else:
            next(iter(self.optimizer.state.values()))["momentum_buffer"].fill_(value)

    at_step(monkeypatch, 3, act)
    told = fails(settings(runs / "x", val_fraction=0.0), "epoch 1, step 3: ")
    assert "the checkpoint of step 2 is kept" in told
    assert read_tensors(runs / "x" / CHECKPOINT)[1]["step"] == "2"


def test_finite_weights_that_are_too_large_to_be_used(
    runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found at the checkpoint, not at the step after it: that one could never be gone on from."""
    at_step(monkeypatch, 3, lambda self: self.network.classifier.weight.fill_(3e38))  # type: ignore[union-attr]
    fails(settings(runs / "x", val_fraction=0.0), "epoch 1, step 3: the loss is not a number")
    assert read_tensors(runs / "x" / CHECKPOINT)[1]["step"] == "2"


def test_a_loss_that_explodes_without_nan(runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    true, count = train_cls_module.bce_step, 0

    def step(*args: Any) -> Any:
        nonlocal count
        count += 1
        loss, parts = true(*args)
        return loss * (1e30 if count == 4 else 1), parts

    monkeypatch.setattr(train_cls_module, "bce_step", step)
    fails(settings(runs / "x"), r"epoch 2, step 4: the loss has exploded \(to \d\S*e\+\d+\)")
    assert read_tensors(runs / "x" / CHECKPOINT)[1]["step"] == "3"


def test_a_checkpoint_that_holds_nan_is_not_gone_on_from(runs: Path, settings: Settings) -> None:
    config = settings(runs / "x")
    train_cls(config, tiny.StopsAt(3))

    def poison(name: str) -> None:
        tensors, metadata = read_tensors(runs / "x" / name)
        tensors["network.classifier.weight"][0] = math.nan
        write_tensors(runs / "x" / name, tensors, metadata)

    poison(CHECKPOINT)
    ear = tiny.Ear()
    assert train_cls(replace(config, epochs=3), tiny.StopsAt(0)).exit_code == 0  # from the one before
    (runs / "x/weights.safetensors").unlink()
    poison(CHECKPOINT)
    poison(PREVIOUS)
    with pytest.raises(TrainingDiverged, match=r"NaN.*--overwrite") as caught:
        train_cls(config, ear)
    assert "\n" not in str(caught.value)
    assert not (runs / "x/weights.safetensors").exists()
    assert train_cls(replace(config, overwrite=True)).exit_code == 0


def test_start_weights_that_hold_nan(runs: Path, settings: Settings, room: Path) -> None:
    tensors, _ = read_tensors(room / "backbone.safetensors")
    tensors["bn1.running_var"][0] = math.inf
    save_file(tensors, runs / "b")
    with pytest.raises(WeightsError, match="initial weights contain NaN or infinite") as caught:
        train_cls(settings(runs / "x", backbone_weights=runs / "b"))
    assert caught.value.exit_code == 3
    assert not list((runs / "x").glob("*.safetensors"))


def test_photos_of_which_none_can_be_read(runs: Path, settings: Settings) -> None:
    """The steps were made on empty crops: weights of nothing, which used to be written."""
    photos = runs / "photos"
    labels = tiny.write_photos(photos, 5)
    for path in photos.rglob("*.png"):
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
    config = settings(runs / "x", images=photos, labels=labels, val_fraction=0.0)
    fails(config, "learned nothing: 5 photos could not be read", NothingLearned)


def test_a_class_whose_photos_cannot_be_read(runs: Path, settings: Settings) -> None:
    photos = runs / "photos"
    labels = tiny.write_photos(photos, 6)
    rows = [f"{p.relative_to(photos)},{'bar' if i else 'disc'}" for i, p in enumerate(sorted(photos.rglob("*.png")))]
    labels.write_text("\n".join(["filename,labels", *rows]) + "\n")
    sorted(photos.rglob("*.png"))[0].write_bytes(b"\x89PNG\r\n\x1a\n")
    ear = tiny.Ear()
    result = train_cls(settings(runs / "x", images=photos, labels=labels, epochs=1, val_fraction=0.0), ear)
    assert any("nothing was learned about disc" in w for w in ear.warnings)
    assert len(result.to_json()["doubts"]) == 1
    assert json.loads((runs / "x/run.json").read_text())["protocol"]["doubts"] == list(result.doubts)


def test_a_second_classifier_without_a_gradient(
    runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tiny.write_weights(runs / "w", reactivated=False)
    config = again(ReactivateConfig, settings(runs / "re"), weights)
    true = reactivate_module.softmax_loss

    def flat(*args: Any, **more: Any) -> tuple[Tensor, Tensor]:
        loss, accuracy = true(*args, **more)
        return loss * 0, accuracy

    monkeypatch.setattr(reactivate_module, "softmax_loss", flat)
    with pytest.raises(NothingLearned, match="step 2: the new part of the network has learned nothing") as caught:
        reactivate(config)
    assert caught.value.exit_code == 1
    assert not (runs / "re/weights.safetensors").exists()


def test_reactivate_refuses_what_leaves_its_classifier_random(runs: Path, settings: Settings) -> None:
    labels = runs / "one.csv"
    labels.write_text("filename,labels\n" + "".join(f"p{i:02d}.png,disc\n" for i in range(1, 9, 2)))
    weights = tiny.write_weights(runs / "w", reactivated=False)
    base = settings(runs / "x")
    with pytest.raises(UsageError, match=r"only photos of disc.*--no-contrast"):
        reactivate(again(ReactivateConfig, base, weights, labels=labels, contrast=False, dry_run=True))
    with pytest.raises(UsageError, match="--sce-weight 0"):
        reactivate(again(ReactivateConfig, base, weights, sce_weight=0.0))
    with pytest.raises(UsageError, match="--lr-head 0"):
        reactivate(again(ReactivateConfig, base, weights, lr_head=0.0))
    with pytest.raises(UsageError, match="--lr 0"):
        train_cls(settings(runs / "x", lr=0.0))
    assert not (runs / "x").exists()


def test_heads_without_a_gradient(runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tiny.write_weights(runs / "w", reactivated=False)
    monkeypatch.setattr("pseudomask.training.calibrate.region_loss", lambda found, *_: found.sum() * 0)
    with pytest.raises(NothingLearned, match="the new part"):
        calibrate(again(CalibrateConfig, settings(runs / "x"), weights, epochs=1))
    assert not (runs / "x/weights.safetensors").exists()


def guard(amp: torch.dtype | None = None, scale: float = 65536.0, **options: Any) -> Guard:
    """Of a training of 4 epochs of 5 steps."""
    network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=amp is torch.float16)
    settings = SimpleNamespace(epochs=4, lr=5e-5, lr_head=0.1, **options)
    return Guard(network, optimizer, scaler, settings, amp, 20)  # type: ignore[arg-type]


def test_a_scale_that_never_finds_its_step() -> None:
    """fp16 skips steps whose gradient overflows: a few are usual, at a scale of 1 none is the scale's fault."""
    one = guard(torch.float16)
    for step in range(1, 21):
        one.step(step, 0.7, math.inf, seen=True)
    one.must_have_learned(10, 0)  # the scale may yet be found
    with pytest.raises(NothingLearned, match="20 gradients overflowed in fp16; give --amp bf16"):
        one.must_have_learned(20, 0)
    low = guard(torch.float16, scale=1.0)
    with pytest.raises(TrainingDiverged, match="epoch 2, step 7: the gradient is not a number") as caught:
        low.step(7, 0.7, math.nan, seen=True)
    for word in ("--lr (now 5e-05, try 5e-06)", "--lr-head (now 0.1, try 0.01)", "--amp off", "no checkpoint"):
        assert word in str(caught.value)
    with pytest.raises(TrainingDiverged, match="the gradient is not a number"):
        guard().step(1, 0.7, math.inf, seen=True)


@pytest.mark.parametrize("rate", [1e-25, 1e-5])
def test_descents_too_small_to_change_anything(rate: float, runs: Path, settings: Settings) -> None:
    """There is a gradient, and every step was made; weights that are those drawn are no result."""
    ear = tiny.Ear()
    config = settings(runs / "x", lr=rate, lr_head=rate, warmup=50)
    with pytest.raises(NothingLearned, match="step 6: the new part of the network is still random"):
        train_cls(config, ear)
    assert any("--warmup 50 is as long as the whole training of 6 steps" in w for w in ear.warnings)
    with pytest.raises(NothingLearned, match="still random"):  # the second time too, from the last checkpoint
        train_cls(config)
    assert not (runs / "x/weights.safetensors").exists()


def test_finite_losses_beyond_return() -> None:
    good = Validation(9000.0, {}, (0.5,))
    assert guard().fault(good, None) == ""
    assert "the held-out loss has exploded (to 2.8e+19)" in guard().fault(replace(good, loss=2.8e19), None)
    one = guard()
    assert one.fault(None, torch.ones(1, 2)) == ""
    with torch.no_grad():
        one.network.weight.fill_(1e9)  # type: ignore[union-attr,operator]
    assert "the loss has exploded" in one.fault(None, torch.ones(1, 2)), "the next step's"


def test_features_that_died() -> None:
    """What is left of many an explosion: a constant loss of ln 2, and 0 for every photo."""
    dead = Validation(math.log(2), {"a": 0.5}, (0.5,), photos=5, dead=True)
    assert "outputs 0 for every held-out photo" in guard().fault(dead, None)
    assert guard().fault(replace(dead, dead=False), None) == ""


def test_doubts_about_weights_without_nan() -> None:
    good = Validation(0.4, {"a": 0.6, "b": 1.0}, (0.5, 0.5), photos=20, chance={"a": 0.3})
    one = guard()
    one.step(1, 0.7, 1.0, seen=True)
    assert one.doubts(good) == one.doubts(None) == []
    (told,) = one.doubts(replace(good, precision={"a": 0.3, "b": 1.0}))
    assert "no better than chance" in told
    assert one.doubts(replace(good, precision={"a": 0.3, "b": 1.0}, photos=19)) == [], "too few to say"
    one.step(2, 60.0, 1.0, seen=True)
    (told,) = one.doubts(good)
    assert "rose from 0.7 to 60" in told


def test_weights_that_end_up_worse_than_a_guess() -> None:
    """An epoch may come back from it; after the last step there are no weights, and the exit code says so."""
    high = Validation(50.0, {"a": 0.6}, (0.5,), photos=20)
    one = guard()
    one.step(1, 0.7, 1.0, seen=True)
    assert one.fault(high, None) == one.fault(replace(high, loss=9.0), None, last=True) == ""
    assert "held-out loss is 50" in one.fault(high, None, last=True)
    one.step(2, 60.0, 1.0, seen=True)
    assert one.fault(replace(high, loss=0.4), None, last=True) == ""
    assert one.fault(None, None) == ""
    assert "the loss rose from 0.7 to 60" in one.fault(None, None, last=True), "nothing held out says else"


def test_a_training_that_ends_up_worse_than_a_guess(
    runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "validate", lambda *_, **__: Validation(168.0, {"a": 1.0}, (0.5,) * 3))
    assert "--lr (now 0.002, try 0.0002)" in fails(settings(runs / "x"), "step 6: the held-out loss is 168")


def test_the_average_precision_of_a_random_order() -> None:
    rng = np.random.default_rng(0)
    from pseudomask.measuring.average_precision import average_precision

    truth = np.zeros((30, 1), int)
    truth[:7] = 1
    drawn = [average_precision(rng.random((30, 1)), truth)[0] for _ in range(4000)]
    assert chance_precision(30, 7) == pytest.approx(np.mean(drawn), abs=0.01)
    assert chance_precision(5, 5) == pytest.approx(1)


def test_weights_that_vanish_in_half_precision(tmp_path: Path) -> None:
    network = tiny.make_network()
    assert network.reclassifier is not None
    with torch.no_grad():
        network.reclassifier.weight.fill_(1e-9)
    card = Card(classes=tiny.CLASSES, method="recam", backbone=tiny.NARROW)
    with pytest.raises(TrainingDiverged, match=r"too small.*reclassifier.*--weights-dtype fp32"):
        save_network(tmp_path / "w", network, card)
    assert not (tmp_path / "w").exists()
    save_network(tmp_path / "w", network, card, torch.float32)
    assert load_network(tmp_path / "w")[0].reclassifier is not None


def test_tags_that_cannot_teach_are_told_before_training(room: Path, runs: Path, settings: Settings) -> None:
    """With --dry-run too, as loudly as rare classes are; and as data."""
    rows = (room / "photos.csv").read_text().splitlines()
    names = [row.partition(",")[0] for row in rows[1:]]
    tags = ["bar" + (";disc;square" if i % 2 else "") for i in range(len(names))]
    labels = runs / "odd.csv"
    labels.write_text("\n".join([rows[0], *(f"{n},{t}" for n, t in zip(names, tags, strict=True))]) + "\n")
    ear = tiny.Ear()
    result = train_cls(settings(runs / "x", labels=labels, dry_run=True), ear)
    kinds = [one["kind"] for one in result.to_json()["tag_problems"]]
    assert kinds == ["everywhere", "together", "few"]
    assert any("in every photo: bar (24)" in w for w in ear.warnings)
    assert any("disc = square" in w for w in ear.warnings)
    result = train_cls(settings(runs / "x", labels=labels, epochs=1))
    record = json.loads((runs / "x/run.json").read_text())
    assert record["protocol"]["tag_problems"] == result.to_json()["tag_problems"]


def test_all_tags_held_out(room: Path, runs: Path, settings: Settings) -> None:
    """By a list: the photos that are left would teach that the class is never there. A draw never does that."""
    held = gather(settings(runs / "x")).held_out.items[0].relative
    rows = (room / "photos.csv").read_text().splitlines()
    names = [row.partition(",")[0] for row in rows[1:]]
    labels = runs / "l.csv"
    labels.write_text("\n".join([rows[0], *(f"{name},{'bar' if name == held else ''}" for name in names)]) + "\n")
    listed = runs / "held.txt"
    listed.write_text(f"{held}\n")
    with pytest.raises(LabelError, match="no photo has a tag"):
        train_cls(settings(runs / "x", labels=labels, val_list=listed))
    assert not (runs / "x").exists()
    assert held not in [item.relative for item in gather(settings(runs / "x", labels=labels)).held_out.items]
