"""train-cls and reactivate from end to end on tiny photos."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from pseudomask.api import TrainingResult, reactivate, train_cls
from pseudomask.config import ReactivateConfig, TrainClsConfig
from pseudomask.errors import LabelError, PseudomaskError, RecordMismatch, TrainingDiverged, UsageError, WeightsError
from pseudomask.maps import card_rule
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, read_tensors
from pseudomask.networks.network import CamNetwork
from pseudomask.training import samples
from pseudomask.training import train_cls as train_cls_module
from pseudomask.training.reactivate import recam_step
from pseudomask.training.samples import batch_plan
from pseudomask.training.trainer import Trainer

Settings = Callable[..., TrainClsConfig]


def again(config: TrainClsConfig, weights: Path | None, **changes: Any) -> ReactivateConfig:
    """Settings for reactivate that share all that train-cls has."""
    shared = {f.name for f in fields(ReactivateConfig)} & {f.name for f in fields(TrainClsConfig)}
    values = {name: getattr(config, name) for name in shared} | {"weights": weights} | changes
    return ReactivateConfig(**values)


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(room: Path, settings: Settings) -> tuple[TrainClsConfig, TrainingResult, tiny.Ear]:
    config, ear = settings(room / "trained", license="CC0-1.0", data_name="shapes"), tiny.Ear()
    return config, train_cls(config, ear), ear


def test_train_cls_writes_weights_with_their_card(trained: tuple[TrainClsConfig, TrainingResult, tiny.Ear]) -> None:
    config, result, ear = trained
    assert result.exit_code == 0
    assert result.weights == config.run / "weights.safetensors"
    network, card = load_network(result.weights)
    assert network.reclassifier is None
    assert (card.classes, card.method, card.backbone, card.style) == (tiny.CLASSES, "cam", tiny.NARROW, "pytorch")
    assert (card.license, card.training["data"], card.training["photos"]) == ("CC0-1.0", "shapes", 18)
    assert card.training["starts_from"]["file"] == "backbone.safetensors"
    assert len(card.tag_thresholds) == 3
    assert card.measured[0]["protocol"].startswith("6 held-out photos")
    assert {"pseudomask", "torch", "python"} <= card.versions.keys()
    assert "18 photos to train on, 6 held out, 3 classes, tags from photos.csv (csv)" in ear.infos
    assert any("fewer than 40 photos: bar, disc, square" in w for w in ear.warnings)
    assert sorted(p.name for p in config.run.iterdir()) == [
        "checkpoint.previous.safetensors",
        "checkpoint.safetensors",
        "log.jsonl",
        "run.json",
        "weights.safetensors",
    ]


def test_the_result_tells_people_and_programs(trained: tuple[TrainClsConfig, TrainingResult, tiny.Ear]) -> None:
    _, result, _ = trained
    summary = dict(result.summary())
    assert summary["steps"] == "6 of 6"
    assert {"photos", "held out", "classes", "speed", "held out loss", "weights"} <= summary.keys()
    document = json.loads(json.dumps(result.to_json()))
    assert (document["schema"], document["photos"], document["weights"]) == (1, 18, str(result.weights))
    assert (document["steps"], document["steps_planned"], document["held_out_classes"]) == (6, 6, 3)
    for name in ("images_per_second", "held_out_loss", "held_out_precision", "held_out_chance"):
        assert isinstance(document[name], float)
    assert summary["speed"] == f"{document['images_per_second']} images/s"
    assert summary["held out precision"] == (
        f"{document['held_out_precision']}, by chance {document['held_out_chance']} (mean over 3 classes)"
    )
    assert summary["too few held out to tell"] == f"{document['held_out_too_few']} of 3 classes"
    assert {"steps planned", "held out classes", "held out too few"}.isdisjoint(summary)


def test_the_record_and_the_log(trained: tuple[TrainClsConfig, TrainingResult, tiny.Ear]) -> None:
    config, _, _ = trained
    record = json.loads((config.run / "run.json").read_text())
    assert (record["command"], record["seed"], record["classes"]) == ("train-cls", 5, list(tiny.CLASSES))
    assert record["config"]["lr"] == config.lr
    assert record["timings"]["training"] > 0
    entries = log_of(config.run)
    checks = [e for e in entries if "epoch" in e]
    assert [(e["epoch"], e["step"]) for e in checks] == [(1, 2), (2, 4), (3, 6)]
    assert all(e["val_loss"] > 0 and 0 <= e["val_map"] <= 1 and e["val_ap"] for e in checks)
    assert all(e["val_photos"]["all"] == 6 and e["val_chance"].keys() == e["val_ap"].keys() for e in checks)
    assert (
        checks[-1]["val_too_few"] == load_network(config.run / "weights.safetensors")[1].measured[0]["too_few_to_tell"]
    )
    steps = [e for e in entries if "epoch" not in e]
    assert [e["step"] for e in steps] == [6]
    assert steps[0].keys() == {"step", "loss", "norm", "lr_factor", "images_per_second"}
    assert steps[0]["lr_factor"] == pytest.approx((1 - 5 / 6) ** 0.9, abs=1e-6)


def test_only_what_is_not_frozen_moved(trained: tuple[TrainClsConfig, TrainingResult, tiny.Ear], room: Path) -> None:
    _, result, _ = trained
    before, _ = read_tensors(room / "backbone.safetensors")
    after = load_network(result.weights)[0].backbone
    assert torch.equal(after.stem[0].weight, before["conv1.weight"])
    assert torch.equal(after.stem[1].weight, before["bn1.weight"])
    assert torch.equal(after.layer2[0].bn1.running_mean, before["layer2.0.bn1.running_mean"])
    for name in ("layer1.0.conv1.weight", "layer4.0.conv2.weight", "layer3.0.bn2.weight"):
        assert not torch.equal(after.get_parameter(name), before[name]), name


def test_reactivate_goes_on_from_it(
    trained: tuple[TrainClsConfig, TrainingResult, tiny.Ear], runs: Path, room: Path
) -> None:
    config, first, _ = trained
    # the same tags in another order of classes: positions must follow the weights' list
    rows = (room / "photos.csv").read_text().splitlines()
    (runs / "turned.csv").write_text("\n".join([rows[0], *rows[:0:-1]]) + "\n")
    settings = again(config, first.weights, run=runs / "re", epochs=2, labels=runs / "turned.csv", license="MIT")
    result = reactivate(settings)
    network, card = load_network(result.weights)
    assert network.reclassifier is not None
    assert (card.method, card.classes, card.license) == ("recam", tiny.CLASSES, "MIT")
    assert card.training["starts_from"]["sce_weight"] == 1
    assert card.training["starts_from"]["sha256"] == json.loads((runs / "re/run.json").read_text())["weights"]["sha256"]
    assert [h["epochs"] for h in card.training["history"]] == [3]
    last = next(e for e in log_of(runs / "re") if "sce" in e)
    assert last["loss"] == pytest.approx(last["bce"] + last["sce"], abs=1e-5)
    assert 0 <= last["accuracy"] <= 1
    start, _ = load_network(first.weights)
    assert not torch.equal(network.classifier.weight, start.classifier.weight)
    assert torch.equal(network.backbone.stem[0].weight, start.backbone.stem[0].weight)


def test_one_class_learns_from_the_background(runs: Path, settings: Settings, room: Path) -> None:
    """Its softmax alone is 0 from the first step: version 0.1.0 saved what it had drawn."""
    rows = (room / "photos.csv").read_text().splitlines()
    cells = [(name, "disc" if "disc" in tags else "") for name, _, tags in (row.partition(",") for row in rows[1:])]
    (runs / "one.csv").write_text("\n".join([rows[0], *(",".join(cell) for cell in cells)]) + "\n")
    config = settings(runs / "cls", labels=runs / "one.csv", epochs=1)
    first = train_cls(config).weights
    small = again(config, first, run=runs / "re", epochs=1, min_steps=11, lr_head=0.1)
    result = reactivate(small)
    network, card = load_network(result.weights)
    assert network.reclassifier is not None
    assert result.facts["steps"] == 12  # whole epochs of 2 steps
    assert card.training["contrast"] is True
    assert (card.second_taught, card_rule(card)) == (True, "product")
    sce = [entry["sce"] for entry in log_of(runs / "re") if "sce" in entry]
    assert 0 < sce[-1] < math.log(2), "it began with ln 2: nothing was drawn"
    assert reactivate(small).facts["steps"] == 12
    with pytest.raises(RecordMismatch, match="epochs"):
        reactivate(replace(small, min_steps=20))


def test_recam_step_weighs_its_losses() -> None:
    network = tiny.make_network()
    images, tags = torch.randn(2, 3, 32, 32), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    with torch.no_grad():
        loss, parts = recam_step(0.25)(network, images, tags)
    assert loss.item() == pytest.approx(parts["bce"].item() + 0.25 * parts["sce"].item())
    assert parts["bce"].item() == pytest.approx(
        torch.nn.functional.binary_cross_entropy_with_logits(network(images), tags).item(), rel=1e-5
    )


def test_training_learns(runs: Path, settings: Settings) -> None:
    """Coloured shapes are easy: both losses fall, from a random network on."""
    losses: list[float] = []

    class Watch(tiny.Ear):
        def progress(self, total: int | None, label: str, unit: str = "images") -> Any:
            return _Watched(losses)

    recipe = {"crop": 48, "lr": 0.05, "lr_head": 0.2, "clip": 1.0, "val_fraction": 0.0, "checkpoint_every": 1000}
    config = settings(runs / "x", epochs=30, **recipe)
    weights = train_cls(config, Watch()).weights
    assert len(losses) == 90
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    reactivate(again(config, weights, run=runs / "re", epochs=40, lr=0.01))
    sce = [(e["sce"], e["accuracy"]) for e in log_of(runs / "re")]
    assert np.mean(sce[-4:], 0)[0] < 0.8 * np.mean(sce[:2], 0)[0]
    assert np.mean(sce[-4:], 0)[1] > 0.6


class _Watched:
    def __init__(self, losses: list[float]) -> None:
        self.losses = losses

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *error: object) -> None: ...

    def advance(self, n: int = 1, **shown: object) -> None:
        self.losses.append(float(str(shown["loss"])))


def test_photos_of_the_val_list_are_never_trained_on(
    room: Path, runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [f"p{i:02d}" for i in (0, 1, 2, 7)]
    (runs / "val.txt").write_text("\n".join(held) + "\n")
    (runs / "train.txt").write_text("\n".join(f"p{i:02d}" for i in range(7)) + "\n")  # three of them are held
    seen: set[str] = set()
    true_decode = samples.decode

    def spy(path: Path, **more: Any) -> np.ndarray:
        seen.add(path.stem)
        return true_decode(path, **more)

    monkeypatch.setattr(samples, "decode", spy)
    config = settings(runs / "x", list=runs / "train.txt", val_list=runs / "val.txt", epochs=1, batch_size=4)
    result = train_cls(config)
    assert seen == {"p03", "p04", "p05", "p06"}
    assert (result.facts["photos"], result.facts["held_out"]) == (4, 4)


def test_dry_run_writes_nothing(runs: Path, settings: Settings) -> None:
    result = train_cls(settings(runs / "x", dry_run=True))
    assert (result.weights, result.exit_code) == (None, 0)
    assert result.facts == {"photos": 18, "held_out": 6, "classes": 3}
    told = dict(result.summary())
    assert told["photos"].startswith("18: ")
    assert told["classes"] == "3: bar, disc, square"
    assert told["starts from"].startswith("narrow, backbone.safetensors")
    assert not any(runs.iterdir())


def test_unreadable_photos_are_named_once_and_left_out(
    room: Path, runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = runs / "photos"
    labels = tiny.write_photos(photos, 4)
    (photos / "p01.png").write_bytes((photos / "p01.png").read_bytes()[:60])
    ear = tiny.Ear()
    config = settings(runs / "x", images=photos, labels=labels, epochs=2, val_fraction=0.0)
    result = train_cls(config, ear)
    assert result.weights.exists()
    assert sum("skipped" in w and "p01.png" in w for w in ear.warnings) == 1
    assert result.facts["unreadable"] == 1


def test_unreadable_photos_are_in_no_batch(runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out, not shown as an empty photo without tags."""
    photos = runs / "photos"
    labels = tiny.write_photos(photos, 4)
    (photos / "p01.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    seen: list[int] = []

    def step(network: CamNetwork, images: torch.Tensor, tags: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        seen.append(len(images))
        assert len(tags) == len(images)
        assert tags.any(1).all()
        return network(images).square().mean(), {}

    monkeypatch.setattr("pseudomask.training.train_cls.bce_step", step)
    train_cls(settings(runs / "x", images=photos, labels=labels, epochs=2, val_fraction=0.0))
    assert seen == [3, 3]


def test_sides_that_contradict_each_other(runs: Path, settings: Settings) -> None:
    with pytest.raises(UsageError, match="--min-side 300 is above --max-side 80"):
        train_cls(settings(runs / "x", min_side=300))
    assert not any(runs.iterdir())


def test_labels_and_photos_that_do_not_meet_are_told(runs: Path, settings: Settings) -> None:
    photos, ear = runs / "photos", tiny.Ear()
    labels = tiny.write_photos(photos, 5)
    rows = labels.read_text().splitlines()
    labels.write_text("\n".join([*rows[:-1], "ghost.png,bar"]) + "\n")
    train_cls(settings(runs / "x", images=photos, labels=labels, dry_run=True), ear)
    assert any(
        "no row in photos.csv (csv) for 1 of 5 photos (first: deep/p04); they are not used for training" in w
        for w in ear.warnings
    )
    assert any("1 row of photos.csv (csv) without a photo (first: ghost.png)" in w for w in ear.warnings)


def test_held_out_photos_that_cannot_be_read(runs: Path, settings: Settings) -> None:
    photos = runs / "photos"
    labels = tiny.write_photos(photos, 4)
    (photos / "p01.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (runs / "val.txt").write_text("p01\n")
    config = settings(runs / "x", images=photos, labels=labels, epochs=1, val_list=runs / "val.txt")
    result = train_cls(config)
    card = load_network(result.weights)[1]
    assert (card.measured, card.tag_thresholds) == ([], (0.5, 0.5, 0.5))
    assert [e["step"] for e in log_of(runs / "x")] == [1]


def test_held_out_photos_without_any_tag_leave_no_nan_in_the_card(runs: Path, settings: Settings) -> None:
    photos = runs / "photos"
    labels = tiny.write_photos(photos, 5)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(photos / "blank.png")
    labels.write_text(labels.read_text() + "blank.png,\n")
    (runs / "val.txt").write_text("blank\n")
    config = settings(runs / "x", images=photos, labels=labels, epochs=1, val_list=runs / "val.txt")
    card = load_network(train_cls(config).weights)[1]
    assert card.measured == []
    json.dumps(card.to_metadata(), allow_nan=False)
    assert "NaN" not in card.to_metadata()["pseudomask"]
    assert log_of(runs / "x")[-1]["val_map"] is None


def test_a_hopeless_learning_rate_stops_with_advice(runs: Path, settings: Settings) -> None:
    with pytest.raises(TrainingDiverged, match=r"step \d+: the (loss|gradient) is not a number; lower --lr") as caught:
        train_cls(settings(runs / "x", lr=1e9))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert not (runs / "x/weights.safetensors").exists()
    for path in (runs / "x").glob("checkpoint*.safetensors"):
        assert all(bool(torch.isfinite(t).all()) for t in read_tensors(path)[0].values())


def test_nan_keeps_the_last_checkpoint(runs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    true_step, count = train_cls_module.bce_step, 0

    def poisoned(*args: Any) -> Any:
        nonlocal count
        count += 1
        loss, parts = true_step(*args)
        return (loss * float("nan") if count == 4 else loss), parts

    monkeypatch.setattr(train_cls_module, "bce_step", poisoned)
    with pytest.raises(TrainingDiverged, match="step 4: the loss is not a number"):
        train_cls(settings(runs / "x"))
    tensors, metadata = read_tensors(runs / "x/checkpoint.safetensors")
    assert metadata["step"] == "3"
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values())
    monkeypatch.undo()
    assert train_cls(settings(runs / "x")).facts["steps"] == 6  # and it can be taken up


def test_a_run_folder_with_other_settings_is_refused(
    trained: tuple[TrainClsConfig, TrainingResult, tiny.Ear], settings: Settings, runs: Path, room: Path
) -> None:
    config, result, _ = trained
    before = {p.name: p.stat().st_mtime_ns for p in config.run.iterdir()}
    other = {"license": "CC0-1.0", "data_name": "shapes"}
    for changes, message in (
        ({"lr": 0.5}, r"lr was 0\.002, now 0\.5"),
        ({"epochs": 4}, "epochs was 3, now 4"),
        ({"val_fraction": 0.5}, "val_fraction was 0.25, now 0.5"),
    ):
        with pytest.raises(RecordMismatch, match=message) as caught:
            train_cls(settings(config.run, **other | changes))
        assert "--overwrite" in str(caught.value)
        assert caught.value.exit_code == 2
    with pytest.raises(RecordMismatch, match="command was"):
        reactivate(again(config, result.weights))
    altered = runs / "altered.csv"
    altered.write_text((room / "photos.csv").read_text().replace("bar", "disc", 1).replace("disc;disc", "disc", 1))
    with pytest.raises(RecordMismatch, match="the tags differ"):
        train_cls(settings(config.run, **other, labels=altered))
    assert {p.name: p.stat().st_mtime_ns for p in config.run.iterdir()} == before


def test_overwrite_starts_anew(runs: Path, settings: Settings) -> None:
    train_cls(settings(runs / "x", epochs=1))
    result = train_cls(settings(runs / "x", epochs=1, lr=0.001, overwrite=True))
    assert result.facts["steps"] == 2
    assert read_tensors(runs / "x/checkpoint.safetensors")[1]["step"] == "2"
    assert json.loads((runs / "x/run.json").read_text())["config"]["lr"] == 0.001
    assert [e["step"] for e in log_of(runs / "x")] == [2, 2]


def test_overwrite_with_a_mistake_destroys_nothing(runs: Path, settings: Settings, room: Path) -> None:
    run = runs / "x"
    run.mkdir()
    for name in ("weights.safetensors", "checkpoint.safetensors", "log.jsonl", "run.json"):
        (run / name).write_text("{}")
    for changes in ({"backbone": "resnet34"}, {"device": "gpu"}, {"amp": "fp16"}):
        with pytest.raises(PseudomaskError):
            train_cls(settings(run, overwrite=True, **changes))
        assert len(list(run.iterdir())) == 4
        assert all(p.read_text() == "{}" for p in run.iterdir())


def test_weights_without_a_record_are_not_written_over(runs: Path, settings: Settings) -> None:
    (runs / "x").mkdir()
    (runs / "x/weights.safetensors").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"holds weights but no run\.json"):
        train_cls(settings(runs / "x"))
    assert (runs / "x/weights.safetensors").read_bytes() == b"mine"


def test_what_cannot_work_is_said_before_anything_is_written(runs: Path, settings: Settings, room: Path) -> None:
    weights = tiny.write_weights(runs / "w", reactivated=False)
    (runs / "zebra.csv").write_text("filename,labels\np01.png,zebra\n")
    (runs / "none.csv").write_text("filename,labels\np01.png,\n")
    run = runs / "x"
    cases: list[tuple[type[Exception], str, Any]] = [
        (UsageError, "give --labels FILE", lambda: train_cls(settings(run, labels=None))),
        (UsageError, "unknown backbone 'resnet19'", lambda: train_cls(settings(run, backbone="resnet19"))),
        (WeightsError, "no such weights file", lambda: train_cls(settings(run, backbone_weights=runs / "nil"))),
        (UsageError, "start|--weights", lambda: reactivate(again(settings(run), None))),
        (WeightsError, "no such weights file", lambda: reactivate(again(settings(run), runs / "nil"))),
        (
            LabelError,
            "have no class 'zebra'",
            lambda: reactivate(again(settings(run), weights, labels=runs / "zebra.csv")),
        ),
        (UsageError, "device", lambda: train_cls(settings(run, device="gpu"))),
        (UsageError, "fp16 is for GPUs", lambda: train_cls(settings(run, amp="fp16"))),
        (UsageError, "style", lambda: train_cls(settings(run, backbone_style="caffe"))),
        (UsageError, "output stride", lambda: train_cls(settings(run, output_stride=32))),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert not run.exists(), message


def test_cards_keep_their_history(trained: tuple[TrainClsConfig, TrainingResult, tiny.Ear]) -> None:
    _, result, _ = trained
    card = load_network(result.weights)[1]
    assert "history" not in card.training
    assert Card.from_metadata(card.to_metadata(), "x") == card


@pytest.mark.parametrize(("photos", "batch"), [(5, 16), (32, 16)])
def test_its_speed_counts_photos_that_were_there(photos: int, batch: int) -> None:
    shown = SimpleNamespace(plan=batch_plan(0, 2, photos, batch))
    speed = Trainer._speed(shown, 2, time.monotonic() - 10, 0)  # type: ignore[arg-type]
    assert speed == pytest.approx(2 * min(photos, batch) / 10, rel=0.05)
