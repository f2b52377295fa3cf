"""`train-affinity`: its loss against pairs counted one by one, its labels, and the verb from seeds to masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor

from pseudomask.api import refine, train_affinity
from pseudomask.config import ExtractConfig, RefineConfig, TrainAffinityConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import NothingLearned, RecordMismatch, TrainingDiverged, UsageError
from pseudomask.extraction import extract
from pseudomask.masks import load_mask
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.checkpoint import load_network, read_tensors
from pseudomask.networks.edge_weights import knows_classes, load_edges
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.refining.evidence import LEVEL
from pseudomask.refining.refiner import Refined
from pseudomask.refining.walk import threshold_of
from pseudomask.running.layout import RECORD, Outputs
from pseudomask.running.record import RunRecord
from pseudomask.scores import ScoreMap, save_scores
from pseudomask.training.confident import LabelledCrops, confident_labels, confident_thresholds
from pseudomask.training.losses import class_loss
from pseudomask.training.train_affinity import affinity_loss, affinity_step

Settings = Callable[..., TrainAffinityConfig]


@pytest.fixture(scope="module")
def seeds(room: Path) -> Path:
    """Blurred shapes as scores, a record with their threshold, and weights with a backbone."""
    folder = room / "seeds"
    for path in sorted((room / "photos").rglob("*.png")):
        photo = np.asarray(Image.open(path))
        found = [i for i, name in enumerate(tiny.CLASSES, 1) if (photo == tiny.COLOURS[name]).all(2).any()]
        planes = [
            cv2.GaussianBlur((photo == tiny.COLOURS[tiny.CLASSES[i - 1]]).all(2).astype(np.float32), (0, 0), 3)
            for i in found
        ]
        values = np.stack([plane[::4, ::4] / plane.max() for plane in planes])
        key = path.relative_to(room / "photos").as_posix().removesuffix(".png")
        scores = ScoreMap(tuple(found), np.clip(values, 0, 1), photo.shape[:2], 4)  # type: ignore[arg-type]
        save_scores(Outputs(key, folder).scores, scores)
    protocol = {"threshold": 0.4, "threshold_chosen": "given"}
    RunRecord(command="extract", config={"threshold": 0.4}, classes=tiny.CLASSES, protocol=protocol).write(
        folder / RECORD
    )
    tiny.write_weights(room / "cam.safetensors", reactivated=False)
    return folder


@pytest.fixture
def affinity(room: Path, seeds: Path) -> Settings:
    weights = room / "cam.safetensors"
    base = tiny.affinity_training(room, room / "unset", seeds=seeds, weights=weights, batch_size=8, radius=5)

    def make(run: Path, **changes: Any) -> TrainAffinityConfig:
        return replace(base, run=run, **changes)

    return make


def counted(edges: Tensor, labels: Tensor, radius: int) -> Tensor:
    """The loss, pair by pair."""
    kinds: dict[str, list[Tensor]] = {"background": [], "class": [], "differ": []}
    batch, h, w = edges.shape
    for b in range(batch):
        for i, j in np.ndindex(h, w):
            for y in range(radius):
                for x in range(1 - radius, radius):
                    if (y == 0 and x <= 0) or y * y + x * x >= radius * radius:
                        continue
                    if not (i + y < h and 0 <= j + x < w):
                        continue
                    one, other = int(labels[b, i, j]), int(labels[b, i + y, j + x])
                    if not one or not other:
                        continue
                    box = [(r, c) for r in range(y + 1) for c in range(min(x, 0), max(x, 0) + 1)]
                    way = [edges[b, i + r, j + c] for r, c in box if (y * c - x * r) ** 2 < y * y + x * x]
                    kind = "differ" if one != other else "background" if one == 1 else "class"
                    kinds[kind].append(1 - torch.stack(way).max())
    means = {
        kind: -((1 - torch.stack(a) if kind == "differ" else torch.stack(a)) + 1e-5).log().mean()
        for kind, a in kinds.items()
    }
    return (means["background"] / 2 + means["class"] / 2 + means["differ"]) / 2


def test_the_loss_pair_by_pair() -> None:
    torch.manual_seed(0)
    edges = torch.rand(2, 6, 7, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 6, 7), dtype=torch.int32)
    wanted = counted(edges, labels, 4)
    (slope,) = torch.autograd.grad(wanted, edges)
    loss, parts = affinity_loss(edges, labels, 4)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert torch.allclose(torch.autograd.grad(loss, edges)[0], slope, atol=1e-12)
    assert 0 < parts["across"] < 1


def test_the_loss_knows_right_from_wrong() -> None:
    labels = torch.ones(1, 8, 8, dtype=torch.int32)
    labels[:, :, 4:] = 2
    right = torch.zeros(1, 8, 8)
    right[:, :, 3:5] = 1  # both sides of the border: each crossing pair meets it
    nowhere = affinity_loss(torch.zeros(1, 8, 8), labels, 2)
    assert nowhere[0].item() == pytest.approx(-np.log(1e-5) / 2, rel=1e-4)
    assert nowhere[1]["across"] == 1
    at_border = affinity_loss(right, labels, 2)
    assert at_border[1]["across"] == 0
    inverted = affinity_loss(1 - right, labels, 2)
    assert at_border[0] < inverted[0]


def test_no_pairs_no_loss() -> None:
    edges = torch.rand(1, 5, 5, requires_grad=True)
    loss, _ = affinity_loss(edges, torch.zeros(1, 5, 5, dtype=torch.int32), 3)
    loss.backward()
    assert loss.item() == 0
    assert edges.grad is not None
    assert not edges.grad.any()


def test_only_the_head_learns() -> None:
    torch.manual_seed(0)
    network = EdgeNetwork(make_backbone(tiny.NARROW)).train()
    labels = torch.randint(0, 3, (2, 16, 16), dtype=torch.int32)
    affinity_step(5)(network, torch.randn(2, 3, 64, 64), labels)[0].backward()
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(p.grad is not None and p.grad.any() for p in network.head.taps.parameters())


@pytest.mark.parametrize(
    ("threshold", "wanted"), [(0.21, (0.33, 0.11)), (0.1, (0.22, 0.05)), (0.9, (0.95, 0.8)), (0.0, (0.12, 0.0))]
)
def test_default_thresholds(threshold: float, wanted: tuple[float, float]) -> None:
    assert confident_thresholds(threshold) == pytest.approx(wanted)


def test_labels_by_hand() -> None:
    values = np.array([[[0.0, 0.2, 0.4, 0.9]], [[0.0, 0.1, 0.6, 0.0]]], np.float32)
    scores = ScoreMap((2, 7), values, (1, 4), 1)
    photo = np.zeros((1, 4, 3), np.uint8)
    assert confident_labels(photo, scores, 0.5, 0.15, None).tolist() == [[0, 255, 7, 2]]
    assert confident_labels(photo, scores, 0.7, 0.3, None).tolist() == [[0, 0, 255, 2]]

    class Wipes:
        """Takes the possible mask's class away: sure pixels keep theirs."""

        def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
            return Refined(scores, 1.0 if threshold < 0.3 else threshold)

    assert confident_labels(photo, scores, 0.5, 0.15, Wipes()).tolist() == [[0, 0, 7, 2]]


def test_crops_move_photo_and_labels_alike(tmp_path: Path) -> None:
    """A photo whose colour says its label: after scaling, mirror and crop it still does."""
    labels = np.zeros((60, 80), np.uint8)
    labels[10:35, 20:70], labels[35:, :30] = 3, 255
    Image.fromarray(labels).save(tmp_path / "labels.png")
    grey = np.where(labels == 255, 128, labels * 60).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, 2)).save(tmp_path / "photo.png")
    paths = [tmp_path / "photo.png"], [tmp_path / "labels.png"]
    settings: dict[str, Any] = {"crop": 50, "sides": (40, 120), "seed": 1, "around": np.zeros(3, np.uint8)}
    crops = LabelledCrops(*paths, **settings)
    seen = set()
    for epoch in range(12):
        image, found, problem = crops[(epoch, 0)]
        assert (image.shape, found.shape, problem) == ((50, 50, 3), (13, 13), "")
        level = image[2::4, 2::4, 0].float()
        for label, grey_level in ((1, 0), (4, 180)):
            there = found[:12, :12] == label
            assert there.sum() < 9 or abs(level[there].median() - grey_level) < 12
        seen |= set(found.unique().tolist())
        assert torch.equal(crops[(epoch, 0)][0], image)
    assert seen == {0, 1, 4}
    missing = LabelledCrops(
        paths[0], [tmp_path / "none.png"], crop=50, sides=(40, 120), seed=1, around=np.zeros(3, np.uint8)
    )[(0, 0)]
    assert "no confident labels" in missing[2]
    assert not missing[1].any()


def test_boundaries_are_learned(affinity: Settings, runs: Path, room: Path) -> None:
    ear = tiny.Ear()
    result = train_affinity(affinity(runs / "a", epochs=7, lr=0.3, checkpoint_every=100, data_name="shapes"), ear)
    assert result.exit_code == 0
    assert result.weights is not None
    assert any("classes above 0.52, background below 0.3" in line for line in ear.infos)
    network, card = load_edges(result.weights, room / "cam.safetensors")
    assert (card.method, card.backbone, card.classes) == ("affinity", tiny.NARROW, tiny.CLASSES)
    assert (card.training["data"], card.training["lr"], card.training["photos"]) == ("shapes", 0.3, 24)
    assert card.training["starts_from"]["foreground"] == pytest.approx(0.52)
    assert "freeze" not in card.training
    start = load_network(room / "cam.safetensors")[0].backbone.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in network.backbone.state_dict().items())
    labels = runs / "a" / "confident" / "deep" / "p00.png"
    assert load_mask(labels).shape == decode(room / "photos" / "deep" / "p00.png").shape[:2]
    assert set(np.unique(load_mask(labels))) >= {0, 255}
    losses = [json.loads(line)["loss"] for line in (runs / "a" / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


def test_the_run_is_resumed_exactly(affinity: Settings, runs: Path) -> None:
    stopped = train_affinity(affinity(runs / "x", limit=16), tiny.StopsAt(16 + 4))  # 16 labels, then 4 steps
    assert (stopped.weights, stopped.exit_code) == (None, 143)
    ear = tiny.Ear()
    resumed = train_affinity(affinity(runs / "x", limit=16), ear)
    assert any("resuming from step 4" in line for line in ear.infos)
    whole = train_affinity(affinity(runs / "whole", limit=16))
    assert resumed.weights is not None
    assert whole.weights is not None
    mine, theirs = read_tensors(resumed.weights)[0], read_tensors(whole.weights)[0]
    assert [name for name in theirs if not torch.equal(mine[name], theirs[name])] == []
    with pytest.raises(RecordMismatch, match="confident_foreground"):
        train_affinity(affinity(runs / "x", limit=16, confident_foreground=0.6))


def test_a_stop_while_labelling(affinity: Settings, runs: Path) -> None:
    stopped = train_affinity(affinity(runs / "x", limit=8, epochs=1), tiny.StopsAt(5))
    assert (stopped.weights, stopped.exit_code) == (None, 143)
    made = {path: path.stat().st_mtime_ns for path in (runs / "x" / "confident").rglob("*.png")}
    assert len(made) == 5
    assert not (runs / "x" / "checkpoint.safetensors").exists()
    assert train_affinity(affinity(runs / "x", limit=8, epochs=1)).weights is not None
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())
    again = train_affinity(affinity(runs / "x", limit=8, epochs=1, overwrite=True, confident_background=0.2))
    assert again.weights is not None
    assert all(path.stat().st_mtime_ns != time for path, time in made.items())


def test_labels_of_scores_that_changed_are_made_again(affinity: Settings, runs: Path, seeds: Path) -> None:
    """extract was run again between the labelling and its resumption."""
    config = affinity(runs / "x", limit=8, epochs=1)
    assert train_affinity(config, tiny.StopsAt(8)).weights is None
    made = {path: path.stat().st_mtime_ns for path in (runs / "x" / "confident").rglob("*.png")}
    changed = min(made)
    scores = Outputs(str(changed.relative_to(runs / "x" / "confident").with_suffix("")), seeds).scores
    scores.write_bytes(scores.read_bytes())
    assert train_affinity(config).weights is not None
    assert [path for path, time in made.items() if path.stat().st_mtime_ns != time] == [changed]


def test_walk_takes_the_weights(affinity: Settings, runs: Path, room: Path, seeds: Path) -> None:
    done = train_affinity(affinity(runs / "a", epochs=1, limit=8))
    config = RefineConfig(
        images=room / "photos", seeds=seeds, out=runs / "out", method=("walk",), affinity=done.weights, amp="off",
        device="cpu", workers=0,
    )  # fmt: skip
    assert refine(config).exit_code == 0
    assert len(list((runs / "out").rglob("*.png"))) == 24
    record = RunRecord.read(runs / "out" / RECORD)
    assert record is not None
    assert record.protocol["scores_threshold"] == LEVEL  # the head knows the classes of the seeds
    boundaries = train_affinity(affinity(runs / "b", epochs=1, limit=8, class_weight=0.0))
    assert refine(replace(config, out=runs / "out_b", affinity=boundaries.weights)).exit_code == 0
    record = RunRecord.read(runs / "out_b" / RECORD)
    assert record is not None
    assert record.protocol["scores_threshold"] == threshold_of(0.4)


def test_classes_are_learned(affinity: Settings, runs: Path, room: Path) -> None:
    """The head names the shapes of photos, and a run without the loss has nothing that could."""
    done = train_affinity(affinity(runs / "a", epochs=7, lr=0.3, checkpoint_every=100))
    assert done.weights is not None
    network, card = load_edges(done.weights, room / "cam.safetensors")
    assert card.classes == tiny.CLASSES
    right = total = 0
    for path in sorted((room / "photos").rglob("*.png")):
        photo = decode(path)
        truth = np.zeros(photo.shape[:2], int)
        for i, name in enumerate(tiny.CLASSES, 1):
            truth[(photo == tiny.COLOURS[name]).all(2)] = i
        pixels = network.backbone.normalisation.normalise(photo)
        with torch.inference_mode():
            seen = network.see(torch.from_numpy(pixels)[None])
        found = seen[0, 1:].argmax(0).numpy()
        wanted = truth[::4, ::4]
        right, total = right + int((found == wanted)[wanted > 0].sum()), total + int((wanted > 0).sum())
    assert right > 0.8 * total
    plain = train_affinity(affinity(runs / "b", epochs=1, limit=8, class_weight=0.0))
    assert plain.weights is not None
    assert "classes.weight" not in read_tensors(plain.weights)[0]
    assert not knows_classes(plain.weights, tiny.CLASSES)
    assert knows_classes(done.weights, tiny.CLASSES)
    assert not knows_classes(done.weights, tiny.CLASSES[::-1])


def test_the_class_loss_by_hand() -> None:
    """Labels weigh by the root of their rarity; places without a label count for nothing."""
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[1, 1, 1], [3, 0, 1]]], dtype=torch.int32)
    surprise = -logits.detach().log_softmax(1)[0]
    terms = [(0.8**-0.5, surprise[0, 0, 0]), (0.8**-0.5, surprise[0, 0, 1]), (0.8**-0.5, surprise[0, 0, 2]),
             (0.8**-0.5, surprise[0, 1, 2]), (0.2**-0.5, surprise[2, 1, 0])]  # fmt: skip
    wanted = sum(weight * value for weight, value in terms) / sum(weight for weight, _ in terms)
    assert class_loss(logits, labels).item() == pytest.approx(float(wanted), rel=1e-9)
    nothing = class_loss(logits, torch.zeros_like(labels))
    nothing.backward()
    assert nothing.item() == 0


def test_the_crf_is_asked(affinity: Settings, runs: Path) -> None:
    changes = {"limit": 2, "epochs": 1, "batch_size": 2}
    train_affinity(affinity(runs / "with", confident_crf=True, **changes))
    train_affinity(affinity(runs / "without", **changes))
    names = [path.name for path in (runs / "with" / "confident").rglob("*.png")]
    assert len(names) == 2
    one, other = (next((runs / run / "confident").rglob(names[0])) for run in ("with", "without"))
    assert not np.array_equal(load_mask(one), load_mask(other))


def test_a_photo_that_cannot_be_labelled_is_left_out(
    affinity: Settings, runs: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pseudomask.refining import work

    def some(path: Path) -> ScoreMap:
        if path.name == "p01.npz":
            raise UsageError("not a score file")
        return sound(path)

    sound = work.load_scores
    monkeypatch.setattr(work, "load_scores", some)
    ear = tiny.Ear()
    result = train_affinity(affinity(runs / "x", epochs=1), ear)
    assert result.facts["unreadable"] == 1
    assert any("p01.png: not a score file" in line for line in ear.warnings)


def test_a_dry_run_writes_nothing(affinity: Settings, runs: Path) -> None:
    result = train_affinity(affinity(runs / "x", dry_run=True))
    assert any("24" in value for _, value in result.understood)
    assert not (runs / "x").exists()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"confident_background": 0.6, "confident_foreground": 0.5}, "--confident-background 0.6"),
        ({"min_side": 90}, "--min-side 90"),
        ({"run": None}, "seeds"),
    ],
)
def test_what_cannot_be(affinity: Settings, runs: Path, seeds: Path, changes: dict[str, Any], complaint: str) -> None:
    config = affinity(runs / "x", **{name: value for name, value in changes.items() if name != "run"})
    if "run" in changes:
        config = replace(config, run=seeds)
    with pytest.raises(UsageError, match=complaint):
        train_affinity(config)
    assert not (runs / "x").exists()


def test_a_rate_that_ruins_the_boundaries(affinity: Settings, runs: Path) -> None:
    with pytest.raises(TrainingDiverged, match=r"epoch \d+, step \d+: .*lower --lr \(now 1e\+20") as caught:
        train_affinity(affinity(runs / "x", lr=1e20))
    assert "--lr-head" not in str(caught.value), "it has none"
    assert not (runs / "x/weights.safetensors").exists()
    for path in (runs / "x").glob("checkpoint*"):
        assert all(bool(torch.isfinite(value).all()) for value in read_tensors(path)[0].values())


def test_seeds_without_a_sure_label_teach_nothing(
    affinity: Settings, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is ignored, and the weights would be those that were drawn."""
    ignored = lambda photo, *more: np.full(photo.shape[:2], 255, np.uint8)  # noqa: E731
    monkeypatch.setattr("pseudomask.training.confident.confident_labels", ignored)
    with pytest.raises(NothingLearned, match="the new part of the network"):
        train_affinity(affinity(runs / "x"))
    assert not (runs / "x/weights.safetensors").exists()


def test_seeds_are_made_on_the_way(room: Path, runs: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From photos and tags in one call: the head of two calls; a second call looks at no photo again."""
    weights = room / "cam.safetensors"
    config = tiny.affinity_training(
        room, runs / "one", seeds=runs / "made", weights=weights, labels=room / "photos.csv", batch_size=8, radius=5,
        epochs=1, confident_foreground=0.6, confident_background=0.5,
    )  # fmt: skip
    dry = train_affinity(replace(config, dry_run=True))
    assert any("masks to make" in value for _, value in dry.understood)
    assert not (runs / "made").exists()
    ear = tiny.Ear()
    result = train_affinity(config, ear)
    assert result.exit_code == 0
    assert any(line.startswith("training on ") and "minute" in line for line in ear.infos)
    record = json.loads((runs / "made/run.json").read_text())
    assert (record["config"]["method"], record["config"]["refine"]) == ("cpmc", [])
    scores = {path.name: path.stat().st_mtime_ns for path in (runs / "made/scores").rglob("*.npz")}
    assert len(scores) == len(list((room / "photos").rglob("*.png")))
    again = train_affinity(replace(config, run=runs / "two", labels=None))
    assert again.weights is not None
    assert result.weights is not None
    assert again.weights.read_bytes() == result.weights.read_bytes()
    monkeypatch.setattr("pseudomask.extracting.engine.Engine.make", None)  # no photo may be seen
    third = train_affinity(replace(config, run=runs / "three"))
    assert third.exit_code == 0
    assert {path.name: path.stat().st_mtime_ns for path in (runs / "made/scores").rglob("*.npz")} == scores


def test_seeds_that_are_half_there_go_on_with_their_own_settings(room: Path, runs: Path, seeds: Path) -> None:
    own = ExtractConfig(
        images=room / "photos", out=runs / "cam", labels=room / "photos.csv", weights=room / "cam.safetensors",
        method="cam", refine=("crf",), crf_iterations=2, scales="1.0", flip=True, threshold=0.4, device="cpu",
        amp="off", workers=0, limit=3,
    )  # fmt: skip
    extract(own)
    config = tiny.affinity_training(
        room, runs / "half", seeds=runs / "cam", weights=room / "cam.safetensors", labels=room / "photos.csv",
        batch_size=8, radius=5, epochs=1,
    )  # fmt: skip
    assert train_affinity(config).exit_code == 0
    record = json.loads((runs / "cam/run.json").read_text())
    assert (record["config"]["method"], record["config"]["flip"], record["config"]["threshold"]) == ("cam", True, 0.4)
    assert record["protocol"]["images"] == len(list((room / "photos").rglob("*.png"))) > 3


def test_a_review_leaves_out_bad_seeds(affinity: Settings, runs: Path, room: Path) -> None:
    config = affinity(runs / "reviewed", dry_run=True)
    photos = room / "photos"
    photo = min(path.relative_to(photos).as_posix() for path in photos.rglob("p*.*"))
    review = runs / "review.csv"
    review.write_text(f"photo,verdict\n{photo},bad\n")
    before, after = (dict(train_affinity(one).understood)["photos"] for one in (config, replace(config, review=review)))
    assert int(after.split(":")[0]) == int(before.split(":")[0]) - 1
    assert photo in before
    assert photo not in after
