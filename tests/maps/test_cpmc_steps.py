"""S2 to S6: identities, planted parts and noise, and what must hold on any input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pseudomask.maps.cpmc import CpmcSettings, affinity
from pseudomask.maps.cpmc.calibration import calibrate, fuse
from pseudomask.maps.cpmc.prototypes import background_of, cosine, masked_mean, prototypes, seeds, top
from pseudomask.maps.cpmc.regions import Regions, between_seeds, between_thresholds, without_small
from pseudomask.maps.cpmc.stages import Stages, run_stages
from pseudomask.maps.normalise import normalise_maps

PLAIN = CpmcSettings(refine="none", contrast=0, complete=0, suppress=0, gamma=0, background=0.5)


def stages(maps: Tensor, features: Tensor, settings: CpmcSettings, valid: Tensor | None = None) -> Stages:
    used = torch.ones(maps.shape[:2], dtype=torch.bool) if valid is None else valid
    return run_stages(maps, features, features, used, settings)


def test_without_its_steps_it_is_the_plain_prototype_map() -> None:
    """γ = λ = κ = 0 and no iteration: cosine with the mean feature of each class's seeds, nothing else."""
    torch.manual_seed(0)
    maps, features = torch.rand(2, 3, 6, 7), torch.randn(2, 5, 6, 7)
    found = stages(maps, features, PLAIN)
    assert torch.allclose(found.refined, normalise_maps(maps))
    for b in range(2):
        a = (maps[b] / (maps[b].amax((1, 2), keepdim=True) + 1e-5)).flatten(1)
        f = features[b].flatten(1).double()
        strongest = torch.cat([0.5 * (1 - a.amax(0, keepdim=True)), a]).argmax(0)
        for c in range(3):
            p = f[:, strongest == c + 1].mean(1)
            expected = ((p @ f) / (p.norm() * f.norm(dim=0))).clamp(min=0)
            assert torch.allclose(found.output[b, c].flatten().double(), expected / expected.max(), atol=1e-4)


def test_each_strength_at_0_switches_its_step_off() -> None:
    torch.manual_seed(0)
    maps, features = torch.rand(1, 2, 8, 8), torch.rand(1, 6, 8, 8)
    off = stages(maps, features, replace(PLAIN, refine="propagate"))
    assert torch.allclose(off.output, off.prototype, atol=1e-4)
    refined = stages(maps, features, replace(PLAIN, refine="propagate", output="refined"))
    assert torch.equal(refined.output, refined.refined)
    assert not torch.allclose(refined.refined, refined.classifier, atol=0.01)
    target = stages(maps, features, replace(PLAIN, refine="propagate", target="classifier"))
    assert torch.allclose(target.output, normalise_maps(target.refined), atol=1e-4)


@pytest.fixture
def two_maps() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 3, 9, 9), torch.rand(2, 3, 9, 9)


def test_the_readings_swap_with_the_maps(two_maps: tuple[Tensor, Tensor]) -> None:
    a, p = two_maps
    one, other = (between_thresholds(*pair, high=0.6, low=0.4) for pair in ((a, p), (p, a)))
    assert one.negative.any()
    assert torch.equal(one.negative, other.positive)
    assert torch.equal(one.positive, other.negative)
    labels = [seeds(m, background_of(m), 2.0) for m in (a, p)]
    one, other = between_seeds(labels[0], labels[1], 3), between_seeds(labels[1], labels[0], 3)
    assert one.negative.any()
    assert torch.equal(one.negative, other.positive)
    assert torch.equal(one.positive, other.negative)


def test_regions_are_disjoint_and_mean_what_they_say(two_maps: tuple[Tensor, Tensor]) -> None:
    target, other = two_maps
    labels = [seeds(m, background_of(m), 2.0) for m in (target, other)]
    for found in (
        between_thresholds(target, other, high=0.5, low=0.5),
        between_thresholds(target, other, high=0.7, low=0.3),
        between_seeds(labels[0], labels[1], 3),
    ):
        assert not (found.negative & found.positive).any()
    missed = between_thresholds(
        torch.tensor([[[[0.1, 0.1, 0.9]]]]), torch.tensor([[[[0.9, 0.1, 0.1]]]]), high=0.5, low=0.3
    )
    assert missed.negative.tolist() == [[[[True, False, False]]]]
    assert missed.positive.tolist() == [[[[False, False, True]]]]
    by_class = between_seeds(torch.tensor([[[0, 2, 1, 0]]]), torch.tensor([[[2, 0, 2, 0]]]), 2)
    assert by_class.negative.tolist() == [[[[False] * 4], [[True, False, False, False]]]]
    assert by_class.positive.tolist() == [[[[False] * 4], [[False, True, False, False]]]]


@pytest.mark.parametrize(("side", "least"), [(10, 4), (40, 8)])
def test_small_regions_are_dropped(side: int, least: int) -> None:
    regions = torch.zeros(1, 2, side, side, dtype=torch.bool)
    regions[0, 0].view(-1)[: least - 1] = True
    regions[0, 1].view(-1)[:least] = True
    assert without_small(regions).sum((2, 3)).tolist() == [[0, least]]


def scene() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """One class on a 10 × 10 grid: a body that the map knows, a tail, and a look-alike in the background.

    body    rows 0–5, feature e0, map 1
    tail    row 6, feature e1; the map knows 6 of its 10 positions, at 0.5
    bush    row 8, feature 0.8 e0 + 0.6 e2, map 0
    ground  rows 7 and 9, feature e3, map 0
    """
    features, maps = torch.zeros(1, 4, 10, 10), torch.zeros(1, 1, 10, 10)
    place = {name: torch.zeros(10, 10, dtype=torch.bool) for name in ("body", "tail", "bush", "ground")}
    place["body"][:6], place["tail"][6], place["bush"][8] = True, True, True
    place["ground"][[7, 9]] = True
    features[0, 0, :6], features[0, 1, 6], features[0, 3, [7, 9]] = 1, 1, 1
    features[0, 0, 8], features[0, 2, 8] = 0.8, 0.6
    maps[0, 0, :6] = 1
    maps[0, 0, 6, :6] = 0.5
    return maps, features, place


NEUTRAL = replace(PLAIN, target="prototype", high=0.4, low=0.2)


def test_a_part_with_other_features_is_completed() -> None:
    maps, features, place = scene()
    without = stages(maps, features, NEUTRAL)
    assert without.output[0, 0][place["tail"]].max() < 0.2
    assert torch.equal(without.regions.negative[0, 0].nonzero()[:, 0], torch.full((6,), 6))
    found = stages(maps, features, replace(NEUTRAL, complete=1.0)).output[0, 0]
    assert found[place["tail"]].min() > 0.95  # also the 4 positions that neither map knew
    assert found[place["body"]].min() > 0.95
    assert found[place["ground"]].max() < 0.05


def test_a_lookalike_in_the_background_is_suppressed() -> None:
    maps, features, place = scene()
    without = stages(maps, features, NEUTRAL)
    assert torch.equal(without.regions.positive[0, 0], place["bush"])
    assert without.output[0, 0][place["bush"]].min() > 0.75
    # P there is 0.8; Z is 1 there and 0.8 on the body: (0.8 − 0.8) and (1 − 0.64)
    soft = stages(maps, features, replace(NEUTRAL, suppress=0.8)).output[0, 0]
    assert soft[place["bush"]].max() < 0.05
    assert soft[place["body"]].min() > 0.95
    hard = stages(maps, features, replace(NEUTRAL, suppress=1.0, calibration="hard")).output[0, 0]
    assert hard[place["bush"]].max() == 0
    assert hard[place["body"]].min() > 0.95


def test_contrast_takes_the_background_away() -> None:
    """Features that share a large common part: cosines are all high, and only the contrast tells them apart."""
    maps, features, place = scene()
    features[:, 3] += 2
    plain = stages(maps, features, replace(NEUTRAL, contrast=0.0)).prototype[0, 0]
    contrasted = stages(maps, features, replace(NEUTRAL, contrast=1.0)).prototype[0, 0]
    assert plain[place["ground"]].min() > 0.8
    assert contrasted[place["ground"]].max() < 0.05
    assert contrasted[place["body"]].min() > 0.95


def test_fusion_and_calibration_by_hand() -> None:
    m, a = torch.tensor([[[[0.2, 0.8]]]]), torch.tensor([[[[1.0, 0.1]]]])
    assert fuse(m, a, 0) is m
    assert torch.allclose(fuse(m, a, 2.0), torch.tensor([[[[1.0, 1.0 / 2.2]]]]), atol=1e-4)
    n, z = torch.tensor([[[[0.6, 0.0]]]]), torch.tensor([[[[0.0, 0.9]]]])
    soft = calibrate(m, n, z, complete=1, suppress=0.5, how="soft")
    assert torch.allclose(soft, torch.tensor([[[[1.0, 0.35 / 0.6]]]]), atol=1e-4)
    hard = calibrate(m, n, z, complete=1, suppress=1, how="hard")
    assert torch.allclose(hard, torch.tensor([[[[1.0, 0.0]]]]), atol=1e-4)


def test_seeds_and_prototypes_by_hand() -> None:
    maps = torch.tensor([[[[0.9, 0.2, 0.0, 0.5]], [[0.1, 0.6, 0.0, 0.5]]]])
    labels = seeds(maps, background_of(maps), 0.5)
    assert labels.tolist() == [[[1, 2, 0, 1]]]
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0], [2.0, 0.0]]).T.reshape(1, 2, 1, 4)
    valid = torch.ones(1, 2, dtype=torch.bool)
    vectors = prototypes(features, labels, maps, valid)
    assert vectors.tolist() == [[[3.0, 3.0], [1.5, 0.0], [0.0, 1.0]]]
    assert torch.allclose(cosine(features, vectors)[0, 1, 0], torch.tensor([1, 0, 0.5**0.5, 1]))


def test_a_class_without_seeds_takes_the_top_of_its_map() -> None:
    maps = torch.zeros(1, 3, 10, 20)
    maps[0, 0] = 1
    maps[0, 1, 4, 7], maps[0, 1, 5, 5] = 0.6, 0.5  # 1 % of 200 are these two
    assert top(maps[:, 1:2])[0, 0].nonzero().tolist() == [[4, 7], [5, 5]]
    features = torch.randn(1, 3, 10, 20)
    valid = torch.tensor([[True, True, True]])
    vectors = prototypes(features, seeds(maps, background_of(maps), 0.5), maps, valid)
    assert torch.allclose(vectors[0, 2], (features[0, :, 4, 7] + features[0, :, 5, 5]) / 2)
    assert (vectors[0, 3] == 0).all()  # a class without a map has nothing to be made from
    assert (vectors[0, 0] == 0).all()  # and neither has a background without seeds
    assert (prototypes(features, seeds(maps, background_of(maps), 0.5), maps, ~valid)[0, 1:] == 0).all()


ALL = [
    CpmcSettings(),
    CpmcSettings(refine="both", target="classifier", calibration="hard", complete=1, suppress=1),
    CpmcSettings(refine="reassign", iterations=3, target="argmax", gamma=0, complete=1, suppress=1),
]


@pytest.mark.parametrize("settings", ALL)
@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (6, 5)])
@pytest.mark.parametrize("kind", ["random", "zeros", "dead features", "every class everywhere"])
def test_nothing_breaks(settings: CpmcSettings, grid: tuple[int, int], kind: str) -> None:
    torch.manual_seed(0)
    n = 20 if kind == "every class everywhere" else 3
    maps, features = torch.rand(2, n, *grid), torch.relu(torch.randn(2, 8, *grid))
    if kind == "zeros":
        maps = maps * 0
    elif kind == "dead features":
        features = features * 0
    elif kind == "every class everywhere":
        maps = maps * 0 + 1
    valid = torch.ones(2, n, dtype=torch.bool)
    valid[1, n // 2 :] = False
    found = stages(maps, features, settings, valid)
    for name in ("classifier", "refined", "prototype", "missing", "noise", "calibrated", "output"):
        values = getattr(found, name)
        assert values.shape == maps.shape
        assert values.dtype is torch.float32
        assert torch.isfinite(values).all(), name
        assert values.min() >= 0
        assert values[1, n // 2 :].abs().max() == 0, name
    assert found.output.max() < 1
    if grid == (1, 1) and kind == "random" and settings.output == "calibrated":
        assert found.refined[0].max() > 0.99


@pytest.mark.parametrize("settings", ALL)
def test_companions_and_unused_places_change_nothing(settings: CpmcSettings) -> None:
    torch.manual_seed(3)
    maps, features = torch.rand(3, 4, 8, 9), torch.relu(torch.randn(3, 10, 8, 9) + 0.3)
    valid = torch.tensor([[True, True, False, False], [True] * 4, [True, False, False, False]])
    together = stages(maps, features, settings, valid).output
    for b in range(3):
        k = int(valid[b].sum())
        alone = stages(maps[b : b + 1, :k], features[b : b + 1], settings).output
        assert torch.allclose(together[b, :k], alone[0], atol=1e-4)


def test_it_computes_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    maps, features = torch.rand(1, 2, 6, 6), torch.rand(1, 512, 6, 6)
    expected = stages(maps, features, CpmcSettings()).output
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(stages(maps, features, CpmcSettings()).output, expected)


def test_regions_hold_tensors_of_bool() -> None:
    maps, features, _ = scene()
    found = stages(maps, features, NEUTRAL).regions
    assert isinstance(found, Regions)
    assert found.negative.dtype is found.positive.dtype is torch.bool


def test_float16_has_neither_infinity_nor_nan() -> None:
    """Positions without a feature, and sums beyond 65,504: what T4 and V100 compute in."""
    features = torch.full((1, 4, 64, 64), 20.0, dtype=torch.float16)
    features[..., 0, 0] = 0
    unit = affinity.unit(features)
    assert unit.dtype is torch.float16
    assert torch.equal(unit[..., 0], torch.zeros(1, 4))
    assert torch.allclose(unit[..., 1:].float(), torch.tensor(0.5), atol=1e-3)
    means = masked_mean(features, torch.ones(1, 2, 64, 64))
    assert torch.allclose(means, torch.tensor(20.0), rtol=1e-3)
