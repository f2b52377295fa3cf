"""The walk's parts by hand, and the refiner with a boundary network whose answer is known."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from planted import Settings
from torch import Tensor

from pseudomask.config import WalkOptions
from pseudomask.errors import UsageError, WeightsError
from pseudomask.measuring.evaluate import evaluate
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.checkpoint import update_card
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.refining.grid import scaled
from pseudomask.refining.paths import affinities, highest_points, pad, steps, way
from pseudomask.refining.refine import refine
from pseudomask.refining.refiner import Refined
from pseudomask.refining.transitions import chebyshev_weights, random_walk, transition
from pseudomask.refining.walk import Walk, power_of, threshold_of
from pseudomask.scores import ScoreMap


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_affinity(tmp_path_factory.mktemp("walk"))


@pytest.mark.parametrize(("radius", "count", "longest", "points"), [(5, 34, 11, 242), (10, 152, 22, 2134)])
def test_the_published_counts(radius: int, count: int, longest: int, points: int) -> None:
    lengths = [len(way(step)) for step in steps(radius)]
    assert (len(lengths), min(lengths), max(lengths), sum(lengths)) == (count, 2, longest, points)
    assert steps(radius) == sorted(steps(radius))


def test_ways_by_hand() -> None:
    assert way((0, 3)) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert way((2, -2)) == [(0, -1), (0, 0), (1, -2), (1, -1), (1, 0), (2, -2), (2, -1)]
    assert way((2, 1)) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def test_a_wall_parts_what_it_lies_between() -> None:
    edges = torch.zeros(6, 9)
    edges[:, 4] = 0.75
    found = affinities(edges, 5)
    for k, (y, x) in enumerate(steps(5)):
        for i in range(6):
            for j in range(9):
                if not (i + y < 6 and 0 <= j + x < 9):
                    assert found[k, i, j] == 0
                else:
                    crosses = min(j, j + x) <= 4 <= max(j, j + x)
                    assert found[k, i, j] == (0.25 if crosses else 1)


def test_highest_points_are_those_of_the_affinities() -> None:
    torch.manual_seed(3)
    edges = torch.rand(2, 7, 8)
    flat = pad(edges, 4, 1.0).flatten(1)
    for k, (step, places) in enumerate(highest_points(edges, 4)):
        assert step == steps(4)[k]
        for b in range(2):
            assert torch.equal(1 - flat[b][places[b]], affinities(edges[b], 4)[k])


def test_steps_are_weighted_means() -> None:
    """Rows sum to 1: constants stay, nothing leaves its range; and a full wall lets nothing through."""
    torch.manual_seed(1)
    edges = torch.rand(8, 10, dtype=torch.float64)
    matrix = transition(edges).to_dense()
    assert matrix.min() >= 0
    assert torch.allclose(matrix.sum(1), torch.ones(80, dtype=torch.float64))
    weights = matrix / matrix.diagonal()[:, None]
    assert torch.allclose(weights, weights.T)
    walled = torch.zeros(8, 10)
    walled[:, 5] = 1
    scores = torch.zeros(1, 8, 10)
    scores[..., :5] = 0.5
    found = random_walk(scores, walled)[0]
    assert found[:, :5].sub(0.5).abs().max() < 1e-8
    assert found[:, 5:].max() == 0


@pytest.mark.parametrize("power", [1, 2, 16, 256, 4096])
def test_the_polynomials_make_the_power(power: int) -> None:
    weights = chebyshev_weights(power)
    x = np.linspace(-1, 1, 1001)
    assert abs(np.polynomial.chebyshev.chebval(x, weights) - x**power).max() <= 1.01e-9
    assert len(weights) - 1 <= min(power, math.ceil(math.sqrt(2 * power * math.log(2 / 1e-9))))


def test_few_products_instead_of_256() -> None:
    assert len(chebyshev_weights(256)) - 1 <= 100


class _Walled(EdgeNetwork):
    """Sees a boundary wherever the photo's red is high."""

    def see(self, x: Tensor) -> Tensor:
        return torch.where(x[:, :1, ::4, ::4] > 0, 8.0, -8.0)


@pytest.fixture
def walled(weights: Path) -> Walk:
    walk = Walk(weights)
    walk.__dict__["_network"] = _Walled(make_backbone(tiny.NARROW))
    return walk


def boxed() -> tuple[np.ndarray, ScoreMap]:
    """A photo 96 × 128 with a red frame, and a blob of scores in the frame's upper left corner that leaks out."""
    photo = np.zeros((96, 128, 3), np.uint8)
    photo[20:76, 24:104] = (255, 0, 0)
    photo[28:68, 32:96] = 0
    y, x = np.mgrid[:24, :32]
    values = np.exp(-((y - 9) ** 2 + (x - 10) ** 2) / 40)[None].astype(np.float32)
    return photo, ScoreMap((2,), values, (96, 128), 4)


def test_scores_fill_the_box_and_stay_in_it(walled: Walk) -> None:
    photo, scores = boxed()
    refined = walled.refine(photo, scores, 0.5)
    assert (refined.threshold, refined.scores.stride, refined.scores.classes) == (0.56, 4, (2,))
    full = refined.scores.upsample()[0]
    assert full.max() == pytest.approx(1, abs=1e-6)
    mask = refined.scores.mask(refined.threshold)
    assert (mask[32:64, 36:92] == 2).all()
    assert (mask[:18] == 0).all()
    assert (mask[:, 108:] == 0).all()
    assert (scores.mask(0.5)[32:64, 36:92] == 2).mean() < 0.6  # which the seed did not


def test_settings_have_an_effect(weights: Path) -> None:
    photo, scores = boxed()

    def values(**changes: object) -> np.ndarray:
        walk = Walk(weights, **changes)  # type: ignore[arg-type]
        walk.__dict__["_network"] = _Walled(make_backbone(tiny.NARROW))
        return walk.refine(photo, scores, 0.5).scores.values

    plain = values()
    for changes in ({"power": 2.0}, {"radius": 3}, {"beta": 0.1}, {"exponent": 4}):
        assert abs(values(**changes) - plain).max() > 0.01
    assert values(side=64).shape == (1, 12, 16)


def test_seeds_are_kept_in_a_geometric_mean(weights: Path) -> None:
    photo, scores = boxed()

    def refined(kept: float) -> Refined:
        walk = Walk(weights, kept=kept)
        walk.__dict__["_network"] = _Walled(make_backbone(tiny.NARROW))
        return walk.refine(photo, scores, 0.5)

    walked, found = refined(0), refined(0.25)
    assert np.allclose(found.scores.values, scores.values**0.25 * walked.scores.values**0.75)
    assert found.threshold == pytest.approx(0.5**0.25 * 0.56**0.75)
    assert (refined(1).scores.mask(refined(1).threshold) == scores.mask(0.5)).all()


def test_large_photos_are_reduced_by_a_whole_number(walled: Walk) -> None:
    photo = np.zeros((5, 1923, 3), np.uint8)
    scores = ScoreMap((1,), np.full((1, 1, 121), 0.5, np.float32), (5, 1923), 16)
    refined = walled.refine(photo, scores, 0.3).scores
    assert (refined.size, refined.stride, refined.values.shape) == ((5, 1923), 16, (1, 1, 121))


def test_highest_is_one_at_full_size() -> None:
    values = np.zeros((2, 3, 3), np.float32)
    values[0, 1, 1], values[1, 0] = 8, 4
    found = scaled(ScoreMap((1, 5), np.zeros((2, 3, 3), np.float32), (12, 11), 4), values, 4)
    peak = (7 / 8) ** 2 * 8  # what bilinear interpolation leaves of a single pixel
    assert found.values[1, 0].tolist() == pytest.approx([4 / peak] * 3)
    assert found.values[0, 1, 1] == 1


def test_nothing_to_walk_passes_through(walled: Walk) -> None:
    photo = np.zeros((8, 8, 3), np.uint8)
    for classes in ((), (1,)):
        scores = ScoreMap(classes, np.zeros((len(classes), 2, 2), np.float32), (8, 8), 4)
        assert walled.refine(photo, scores, 0.4) == (scores, 0.4)
    scores = ScoreMap((1,), np.ones((1, 2, 2), np.float32), (8, 8), 4)
    walled._network.see = lambda x: torch.full((1, 1, 2, 2), 100.0)  # type: ignore[method-assign]  # all boundary
    assert walled.refine(photo, scores, 0.4) == (scores, 0.4)


def test_it_crosses_processes_without_its_network(weights: Path) -> None:
    walk = Walk(weights, weights.parent / "cam.safetensors")
    photo, scores = boxed()
    before = walk.refine(photo, scores, 0.5).scores.values
    copy = pickle.loads(pickle.dumps(walk))
    assert copy == walk
    assert "_network" not in copy.__dict__
    assert len(pickle.dumps(walk)) < 2000
    assert np.array_equal(copy.refine(photo, scores, 0.5).scores.values, before)


def test_weights_that_are_not_there(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="train-affinity"):
        Walk.of(WalkOptions())
    with pytest.raises(WeightsError, match=r"nowhere: no such weights file; .*train-affinity"):
        Walk.of(WalkOptions(affinity=tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match="train-affinity"):
        Walk.of(WalkOptions(affinity=tiny.write_weights(tmp_path / "cam")))
    with pytest.raises(UsageError, match="--amp fp16"):
        Walk.of(WalkOptions(affinity=weights, amp="fp16"))
    assert Walk.of(WalkOptions(affinity=weights, walk_steps=3, amp="off")) == Walk(
        weights, weights.parent / "cam.safetensors", exponent=3
    )


def test_power_and_threshold_follow_from_the_seeds_threshold() -> None:
    assert [round(power_of(t), 2) for t in (0.0, 0.2, 0.52, 1.0)] == [1.6, 2.0, 3.33, 16.0]
    assert [threshold_of(t) for t in (0.0, 0.2, 0.5, 1.0)] == [0.12, 0.296, 0.56, 1.0]


def test_a_heads_card_has_the_last_word_on_the_threshold(tmp_path: Path) -> None:
    head = tiny.write_affinity(tmp_path)
    photo, scores = boxed()
    levels = [Walk.of(WalkOptions(affinity=head, amp="off")).refine(photo, scores, 0.2).threshold]
    update_card(head, thresholds={"walk_step": 0.3})
    levels += [Walk.of(WalkOptions(affinity=head, amp="off")).refine(photo, scores, 0.2).threshold]
    named = WalkOptions(affinity=head, amp="off", walk_threshold=0.28)
    assert [*levels, Walk.of(named).refine(photo, scores, 0.2).threshold] == [0.296, 0.44, 0.28]


def test_unless_they_are_given(weights: Path) -> None:
    photo, scores = boxed()

    def refined(seeds: float, **settings: float) -> tuple[np.ndarray, float]:
        walk = Walk(weights, **settings)  # type: ignore[arg-type]
        walk.__dict__["_network"] = _Walled(make_backbone(tiny.NARROW))
        found = walk.refine(photo, scores, seeds)
        return found.scores.values, found.threshold

    for threshold in (0.2, 0.6):
        values, level = refined(threshold)
        assert level == threshold_of(threshold)
        assert np.array_equal(values, refined(threshold, power=power_of(threshold))[0])
        assert refined(threshold, threshold=0.28)[1] == 0.28
    assert not np.array_equal(refined(0.2)[0], refined(0.6)[0])
    assert np.array_equal(refined(0.2, power=1.5)[0], refined(0.6, power=1.5)[0])


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_each_pixel_takes_a_power_mean(weights: Path, power: float) -> None:
    """(Σ w·x^p)^(1/p), so that scores keep their scale: a constant stays what it is."""
    photo, scores = boxed()
    walk = Walk(weights, power=power, amp="off")
    walk.__dict__["_network"] = _Walled(make_backbone(tiny.NARROW))
    found = walk.refine(photo, scores, 0.5).scores.values
    logits = torch.full((24, 32), -8.0)
    logits[5:19, 6:26] = 8
    logits[7:17, 8:24] = -8
    edges = logits.sigmoid()
    means = random_walk(torch.from_numpy(scores.values).double() ** power, edges, radius=5, beta=10, exponent=8)
    wanted = scaled(scores, (means ** (1 / power)).numpy(), 4).values
    assert abs(found - wanted).max() < 0.01
    flat = ScoreMap((1,), np.full((1, 24, 32), 0.4, np.float32), (96, 128), 4)
    even = walk.refine(np.zeros_like(photo), flat, 0.5).scores.values
    assert np.ptp(even) < 1e-3


def test_refine_tells_what_follows(weights: Path, settings: Settings, tmp_path: Path) -> None:
    config = settings(tmp_path / "out", method=("walk",), affinity=weights, amp="off", threshold="auto")
    understood = dict(refine(replace(config, dry_run=True)).understood)
    found = refine(config)
    level = threshold_of(found.threshold)
    assert understood["threshold afterwards"] == f"{level:g}"
    assert dict(found.summary())["made with"].endswith(
        f"; threshold {found.threshold:g}, {found.threshold_from}; threshold afterwards {level:g}"
    )
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["protocol"]["scores_threshold"] == level
    assert record["config"]["threshold"] == found.threshold
    told = evaluate(tmp_path / "out", tmp_path / "out").protocol
    assert level != found.threshold
    assert (told.threshold, told.threshold_source) == (level, "from the masks")
