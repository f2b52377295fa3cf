"""train-cls --fit lda: both classifiers in one look at the photos."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudomask.api import ExtractConfig, extract, reactivate, train_cls
from pseudomask.config import ReactivateConfig, TrainClsConfig
from pseudomask.errors import NothingLearned
from pseudomask.masks import load_mask
from pseudomask.networks.checkpoint import load_network
from pseudomask.training import looking
from pseudomask.training.closed_form import SMOOTHING, Seen, image_discriminant, region_discriminant
from pseudomask.verbs import VERBS

Settings = Callable[..., TrainClsConfig]


def test_the_discriminant_of_images_by_hand() -> None:
    pooled = torch.tensor([[4.0, 1.0], [6.0, 1.0], [1.0, 1.0], [1.0, 3.0]])
    tags = torch.tensor([[1.0, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 1]])
    rows = image_discriminant(pooled, tags)
    logits = pooled @ rows.T
    shown, others = logits[:2, 0].mean(), logits[2:, 0].mean()
    # Variances within: 2 / 2 and 2 / 2, smoothed by their mean; means (5, 1) and (1, 2).
    direction = torch.tensor([4.0, -1.0]) / (1 + SMOOTHING)
    along = torch.linalg.lstsq(torch.stack([direction, pooled.mean(0)], 1), rows[0][:, None]).solution[:, 0]
    assert along[0] == pytest.approx(4 / (direction @ torch.tensor([4.0, -1.0])).item(), rel=1e-4)
    assert shown > 0 > others
    assert not rows[1].any(), "no photo shows it"
    assert (logits[:, 2] > 0).all(), "all photos show it"


def scene(dim: int, at: int | None, rng: np.random.Generator) -> torch.Tensor:
    """Features (dim, 4, 4): noise, a background in channel 0, and an object in one corner in channel `at`."""
    features = torch.from_numpy(rng.random((dim, 4, 4)).astype(np.float32)) * 0.2
    features[0] += 1
    if at is not None:
        features[0, :2, :2] -= 1
        features[at, :2, :2] += 1
    return features


@pytest.mark.parametrize("classes", [1, 2])
def test_regions_find_the_object_and_not_what_is_around_it(classes: int) -> None:
    rng = np.random.default_rng(0)
    photos = [Seen(scene(6, 1 + i % classes, rng), (i % classes,)) for i in range(12)]
    photos += [Seen(scene(6, None, rng), ()) for _ in range(6)]
    tags = torch.zeros(len(photos), classes)
    for row, one in zip(tags, photos, strict=True):
        row[list(one.tags)] = 1
    first = image_discriminant(torch.stack([one.flat.mean(1) for one in photos]), tags)
    second = region_discriminant(photos, first, classes)
    assert (second >= 0).all()
    assert second.norm(dim=1).tolist() == pytest.approx([1.0] * classes)
    assert second.argmax(1).tolist() == list(range(1, classes + 1))
    assert (second[:, 0] < 0.05).all()


def test_a_class_without_photos_is_zero() -> None:
    rng = np.random.default_rng(0)
    photos = [Seen(scene(6, 1, rng), (0,)), Seen(scene(6, None, rng), ())]
    assert not region_discriminant(photos, torch.ones(2, 6), 2)[1].any()


def one_class(room: Path, to: Path) -> Path:
    rows = (room / "photos.csv").read_text().splitlines()
    cells = [(name, "disc" if "disc" in tags else "") for name, _, tags in (row.partition(",") for row in rows[1:])]
    to.write_text("\n".join([rows[0], *(",".join(cell) for cell in cells)]) + "\n")
    return to


@pytest.mark.parametrize("single", [False, True])
def test_from_tags_to_masks(room: Path, runs: Path, settings: Settings, single: bool) -> None:
    labels = one_class(room, runs / "one.csv") if single else room / "photos.csv"
    config = settings(runs / "lda", labels=labels, fit="lda", workers=0)
    result = train_cls(config)
    network, card = load_network(result.weights)
    assert network.reclassifier is not None
    assert card.method == "recam"
    assert card.weight_rule == "second"
    assert card.second_taught
    assert card.training["fit"] == "lda"
    assert "epochs" not in card.training
    assert {"second", "cpmc"} <= card.thresholds.keys()
    assert result.facts["steps"] == result.facts["photos"] == 18
    log = json.loads((config.run / "log.jsonl").read_text())
    assert log["val_photos"]["all"] == 6
    before = Path(result.weights).read_bytes()
    train_cls(config)
    assert Path(result.weights).read_bytes() == before
    out = runs / "masks"
    extract(
        ExtractConfig(
            images=config.images,
            out=out,
            labels=labels,
            weights=result.weights,
            method="recam",
            refine=("none",),
            tta="fast",
            workers=0,
        )
    )
    record = json.loads((out / "run.json").read_text())
    assert record["protocol"]["recam_weights"] == "second"
    assert record["protocol"]["threshold"] == card.thresholds["second"]
    found = {int(v) for path in out.rglob("*.png") for v in np.unique(load_mask(path))}
    assert {0} < found <= set(range(len(card.classes) + 1)), "of a random backbone no more can be asked"


def test_reactivate_may_go_on_from_it(room: Path, runs: Path, settings: Settings) -> None:
    labels = one_class(room, runs / "one.csv")
    base = settings(runs / "lda", labels=labels, fit="lda", workers=0)
    weights = train_cls(base).weights
    more = {name: getattr(base, name) for name in ("images", "labels", "crop", "batch_size", "val_fraction", "seed")}
    made = reactivate(ReactivateConfig(**more, run=runs / "re", weights=weights, min_steps=2, epochs=1))
    card = load_network(made.weights)[1]
    assert card.second_taught
    assert [one["fit"] for one in card.training["history"]] == ["lda"]


def test_what_cannot_be_read_is_told(room: Path, runs: Path, settings: Settings) -> None:
    base = settings(runs / "x", fit="lda", workers=0, val_fraction=0.0)
    photos = runs / "photos"
    photos.mkdir()
    rows = (room / "photos.csv").read_text().splitlines()[1:5]
    names = [row.partition(",")[0].rpartition("/")[2] for row in rows]
    for name in names:
        (photos / name).write_bytes(b"no photo")
    labels = runs / "l.csv"
    labels.write_text("filename,labels\n" + "".join(f"{name},disc\n" for name in names))
    with pytest.raises(NothingLearned, match="could be read"):
        train_cls(replace(base, images=photos, labels=labels))
    assert not (runs / "x/weights.safetensors").exists()


def test_of_many_photos_each_class_gets_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ENOUGH", 60)
    monkeypatch.setattr(looking, "A_CLASS", 1)
    tags = np.zeros((1000, 2), np.float32)
    tags[:15, 0] = 1
    tags[15:600, 1] = 1
    chosen = looking.choose_photos(tags, 0)
    assert len(chosen) == len(set(chosen)) == 60
    assert tags[chosen].sum(0)[0] == 15
    assert tags[chosen].sum(0)[1] >= 20
    assert (tags[chosen].sum(1) == 0).sum() >= 20
    assert looking.choose_photos(tags[:50], 0) == list(range(50))


def test_what_comes_next() -> None:
    config = TrainClsConfig(images=Path("i"), run=Path("r"), fit="lda")
    verb = VERBS["train-cls"].of(config)
    assert verb.next.startswith("extract")
    assert verb.method == "recam"
    assert VERBS["train-cls"].of(replace(config, fit="sgd")) == VERBS["train-cls"]
