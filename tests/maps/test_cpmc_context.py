"""S1: propagation against a float64 oracle, on planted features, and within its memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pseudomask.maps.cpmc import affinity, context
from pseudomask.maps.cpmc.affinity import MOST_SOURCES, pool, pooling
from pseudomask.maps.cpmc.context import gather, propagate, reassign, stretch
from pseudomask.maps.cpmc.prototypes import background_of


def oracle(maps: Tensor, features: Tensor, power: float, iterations: int) -> np.ndarray:
    """The definition, position by position, in float64: one photo's maps (N, h, w), features (D, h, w)."""
    a = maps.double().numpy().reshape(len(maps), -1)
    f = features.double().numpy().reshape(len(features), -1)
    n = f.shape[1]
    length = np.sqrt((f**2).sum(0))
    s = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            s[i, j] = max(0.0, float(f[:, i] @ f[:, j]) / (length[i] * length[j])) ** power
    for _ in range(iterations):
        a = np.stack(
            [[sum(a[k, i] * s[i, j] for i in range(n)) / s[:, j].sum() for j in range(n)] for k in range(len(a))]
        )
    return a.reshape(maps.shape)


@pytest.mark.parametrize(("power", "iterations"), [(1.0, 1), (2.0, 2), (3.5, 3)])
def test_propagation_equals_its_definition(power: float, iterations: int) -> None:
    torch.manual_seed(0)
    maps, features = torch.rand(2, 3, 4, 5), torch.randn(2, 7, 4, 5)
    found = propagate(maps, features, power=power, iterations=iterations)
    for b in range(2):
        expected = oracle(maps[b], features[b], power, iterations)
        np.testing.assert_allclose(found[b].numpy(), expected, rtol=2e-4)  # 1e-5 is added to each column's sum


def test_no_iteration_changes_nothing() -> None:
    maps, features = torch.rand(1, 2, 3, 3), torch.randn(1, 4, 3, 3)
    assert propagate(maps, features, power=2, iterations=0) is maps
    again = reassign(
        maps, background_of(maps), features, torch.ones(1, 2).bool(), iterations=0, contrast=0.8, background_weight=0.5
    )
    assert again is maps


def planted() -> tuple[Tensor, Tensor, Tensor]:
    """A head (rows 0–2) that the map knows, a body (3–5) of features 0.8 alike that it does not, background.

    Returns maps (1, 1, 10, 6), features (1, 3, 10, 6), and which positions are the body, (10, 6).
    """
    features, maps = torch.zeros(1, 3, 10, 6), torch.zeros(1, 1, 10, 6)
    features[0, 0, :3] = 1
    features[0, 0, 3:6], features[0, 1, 3:6] = 0.8, 0.6
    features[0, 2, 6:] = 1
    maps[0, 0, :3] = 1
    body = torch.zeros(10, 6, dtype=torch.bool)
    body[3:6] = True
    return maps, features, body


def test_propagation_completes_a_part_of_like_features() -> None:
    maps, features, body = planted()
    found = propagate(maps, features, power=1, iterations=1)[0, 0]
    # 18 positions of the head at 0.8 against 18 of the body at 1: 18·0.8 / (18·0.8 + 18)
    assert torch.allclose(found[body], torch.tensor(0.8 / 1.8), atol=1e-4)
    assert torch.allclose(found[:3], torch.tensor(1 / 1.8), atol=1e-4)
    assert (found[6:] == 0).all()


def test_reassignment_completes_it_too_and_stops() -> None:
    maps, features, body = planted()
    valid = torch.ones(1, 1, dtype=torch.bool)
    settings = {"contrast": 0.8, "background_weight": 0.5}
    once, often = (
        reassign(maps, background_of(maps), features, valid, iterations=n, **settings)  # type: ignore[arg-type]
        for n in (1, 9)
    )
    assert once[0, 0][body].min() > 0.9
    assert (once[0, 0, 6:] == 0).all()
    # the seeds have taken the body in: the second round moves the prototype, the third finds the seeds at rest
    assert torch.equal(often, reassign(maps, background_of(maps), features, valid, iterations=2, **settings))  # type: ignore[arg-type]


def test_a_photo_that_has_come_to_rest_ignores_its_companions() -> None:
    torch.manual_seed(1)
    maps, features, _ = planted()
    rest = torch.rand(1, 1, 10, 6), torch.randn(1, 3, 10, 6)
    both, valid = torch.cat([maps, rest[0]]), torch.ones(2, 1, dtype=torch.bool)
    settings = {"iterations": 6, "contrast": 0.5, "background_weight": 0.5}
    together = reassign(both, background_of(both), torch.cat([features, rest[1]]), valid, **settings)  # type: ignore[arg-type]
    alone = reassign(maps, background_of(maps), features, valid[:1], **settings)  # type: ignore[arg-type]
    assert torch.allclose(together[:1], alone, atol=1e-6)
    assert torch.isfinite(together).all()


def test_gathering_takes_only_what_is_alike() -> None:
    features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).T.reshape(1, 2, 1, 3)
    found = gather(features)[0, :, 0]  # (2, 3)
    mean = torch.nn.functional.normalize(torch.tensor([1.9, 0.1]) @ torch.eye(2), dim=0)
    assert torch.allclose(found[:, 0], mean, atol=0.01)
    assert torch.equal(found[:, 2], torch.tensor([0.0, 1.0]))


def test_stretching() -> None:
    maps = torch.tensor([[0.5, 0.75, 1.0], [0.2, 0.2, 0.2], [0.0, 0.0, 0.0]]).reshape(1, 3, 1, 3)
    found = stretch(maps)[0, :, 0]
    assert torch.allclose(found, torch.tensor([[0, 0.5, 1], [1, 1, 1], [0, 0, 0]]), atol=1e-4)
    assert found.max() < 1


@pytest.mark.parametrize(
    ("grid", "factor"), [((1, 1), 1), ((50, 50), 1), ((50, 51), 2), ((188, 250), 5), ((1, 5000), 2), ((313, 1), 1)]
)
def test_the_grid_of_sources_is_bounded(grid: tuple[int, int], factor: int) -> None:
    assert pooling(grid) == factor
    pooled = pool(torch.rand(1, 2, *grid), factor)
    assert pooled.shape[-2] * pooled.shape[-1] <= MOST_SOURCES
    assert pooled.shape[-2:] == (-(-grid[0] // factor), -(-grid[1] // factor))


def test_pooling_means_over_what_is_there() -> None:
    found = pool(torch.arange(15.0).reshape(1, 1, 3, 5), 2)
    assert found[0, 0].tolist() == [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]


def test_a_photo_of_2000_by_1500_never_builds_a_dense_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def watched(sources: Tensor, targets: Tensor, power: float) -> Tensor:
        sizes.append(sources.shape[2] * targets.shape[2])
        return affinity.affinity(sources, targets, power)

    monkeypatch.setattr(context, "affinity", watched)
    torch.manual_seed(0)
    features = torch.randn(1, 4, 94, 125)  # stride 16
    features[:, 0, :, :60] += 6
    features[:, 1, :, 60:] += 6
    maps = torch.zeros(1, 1, 94, 125)
    maps[..., 40:50, 20:30] = 1
    found = propagate(maps, features, power=4, iterations=2)[0, 0]
    assert max(sizes) <= MOST_SOURCES * affinity.BLOCK
    assert len(sizes) == 1 + 3  # the pooled grid with itself, then three blocks of the whole one
    assert found.shape == (94, 125)
    assert found[:, :60].mean() > 5 * found[:, 62:].mean()


def test_pooled_sources_hardly_change_smooth_features() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 3, 60), torch.linspace(0, 3, 60), indexing="ij")
    features = torch.stack([x.cos() + 1, y.sin() + 1, (x * y / 3).cos() + 1])[None]
    maps = torch.exp(-((x - 1) ** 2) - (y - 1) ** 2)[None, None]
    found = propagate(maps, features, power=8, iterations=2)
    vectors = torch.nn.functional.normalize(features.flatten(2), dim=1)
    s = (vectors.transpose(1, 2) @ vectors).relu() ** 8
    s = s / s.sum(1, keepdim=True)
    exact = (maps.flatten(2) @ s @ s).view_as(found)
    assert (found - exact).abs().max() < 0.01
