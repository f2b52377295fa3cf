"""The permutohedral filter: near the exact Gaussian sum, and exactly linear, adjoint and local."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pseudomask.errors import UsageError
from pseudomask.refining.lattice import Lattice, build_lattice


def features(d: int, n: int, *, spread: float = 4, seed: int = 0) -> Tensor:
    return spread * torch.rand(d, n, generator=torch.Generator().manual_seed(seed))


def dense(lattice: Lattice) -> Tensor:
    """The filter as an (N, N) matrix."""
    return lattice.filter(torch.eye(len(lattice.corners), dtype=lattice.inward.dtype))


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_it_approximates_the_gaussian_sum(d: int) -> None:
    """Among exact sums of several widths, the one of width 1 is nearest; all are divided by their row sums."""
    f = features(d, 600, spread=3)
    v = torch.sin(f.sum(0, keepdim=True)).T + 1
    lattice = build_lattice(f)
    found = lattice.filter(v) / lattice.filter(torch.ones_like(v))
    errors = {}
    for width in (0.64, 0.8, 1, 1.25, 1.56):
        gauss = torch.exp(-torch.cdist(f.T, f.T).square() / (2 * width**2))
        exact = (gauss @ v) / gauss.sum(1, keepdim=True)
        errors[width] = float((found - exact).abs().mean() / exact.std())
    assert min(errors, key=errors.__getitem__) == 1
    assert errors[1] < 0.25


def test_its_kernel_falls_with_distance_like_a_gaussian() -> None:
    """A row of pixels, 8 a deviation: the response to one impulse has the Gaussian's width."""
    x = torch.arange(400).float()
    response = build_lattice((x / 8)[None]).filter((x == 200).float()[:, None]).squeeze()
    mean = (response * x).sum() / response.sum()
    deviation = ((response * (x - mean).square()).sum() / response.sum()).sqrt()
    assert mean == pytest.approx(200, abs=1)
    assert deviation == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_weights_are_barycentric(d: int) -> None:
    """They sum to 1, none is negative, and lattice points are told apart by their coordinates."""
    f = features(d, 500).double()
    lattice = build_lattice(f)
    weights = lattice.inward * (1 + 2**-d)
    assert weights.min() > -1e-12
    assert torch.allclose(weights.sum(1), torch.ones(500).double())
    assert lattice.corners.unique().tolist() == list(range(len(lattice.starts) - 1))
    # each point is the weighted mean of its corners: solve for the corners' places, which must be consistent
    a = torch.zeros(500, len(lattice.starts) - 1).double().scatter_add_(1, lattice.corners.long(), weights)
    places = torch.linalg.lstsq(a, f.T, driver="gelsd").solution
    assert torch.allclose(a @ places, f.T, atol=1e-8)


@pytest.mark.parametrize("d", [2, 5])
def test_neighbours_are_mutual(d: int) -> None:
    lattice = build_lattice(features(d, 2000))
    m = len(lattice.starts) - 1
    for forward, backward in zip(lattice.forward, lattice.backward, strict=True):
        assert (forward < m).any()
        for one, other in ((forward, backward), (backward, forward)):
            here = (one < m).nonzero().squeeze(1)
            assert torch.equal(other[one[here].long()].long(), here)
            assert (one[here] != here).all()


def test_splat_and_slice_are_adjoint() -> None:
    """⟨splat x, y⟩ = ⟨x, slice y⟩, up to the factor that slicing holds."""
    lattice = build_lattice(features(5, 800).double())
    m = len(lattice.starts) - 1
    x, y = torch.rand(800, 3).double(), torch.rand(m, 3).double()
    assert torch.allclose((lattice.splat(x) * y).sum(), (1 + 2**-5) * (x * lattice.slice(y)).sum())


def test_it_is_linear_and_treats_columns_alike() -> None:
    lattice = build_lattice(features(3, 600).double())
    x, y = torch.rand(600, 4).double(), torch.rand(600, 4).double()
    assert torch.allclose(lattice.filter(2 * x - 3 * y), 2 * lattice.filter(x) - 3 * lattice.filter(y))
    assert torch.allclose(lattice.filter(x)[:, 1:2], lattice.filter(x[:, 1:2]))
    assert torch.allclose(lattice.filter(x), dense(lattice) @ x)


def test_float32_follows_float64() -> None:
    f, v = features(5, 2000), torch.rand(2000, 2)
    single, double = build_lattice(f), build_lattice(f.double())
    assert single.inward.dtype == torch.float32
    assert double.inward.dtype == torch.float64
    assert torch.allclose(single.filter(v).double(), double.filter(v.double()), rtol=1e-3, atol=1e-4)


def test_weighting_is_scaling_before_and_after() -> None:
    lattice = build_lattice(features(3, 300).double())
    out, back, v = torch.rand(300).double(), torch.rand(300).double(), torch.rand(300, 2).double()
    expected = back[:, None] * lattice.filter(out[:, None] * v)
    assert torch.allclose(lattice.weighted(out, back).filter(v), expected)


def test_far_points_do_not_see_each_other() -> None:
    f = torch.cat([features(3, 100), features(3, 100, seed=1) + 100], 1)
    seen = dense(build_lattice(f))
    assert seen[:100, 100:].abs().max() == 0
    assert seen[:100, :100].min() >= 0
    assert torch.allclose(seen[:100, :100], dense(build_lattice(f[:, :100])), atol=1e-5)


def test_keys_too_large_for_32_bits_are_64() -> None:
    """The same points, some far away: the answers of the others do not change."""
    f = features(5, 200)
    far = torch.cat([f, 300 + 300 * torch.rand(5, 20)], 1)
    v = torch.rand(220, 1)
    assert torch.allclose(build_lattice(far).filter(v)[:200], build_lattice(f).filter(v[:200]), rtol=1e-3, atol=1e-4)


def test_keys_too_large_for_64_bits_are_refused() -> None:
    with pytest.raises(UsageError, match="too small"):
        build_lattice(1e4 * features(5, 50))


def test_order_does_not_matter() -> None:
    f, v = features(5, 500).double(), torch.rand(500, 1).double()
    order = torch.randperm(500)
    assert torch.allclose(build_lattice(f[:, order]).filter(v[order]), build_lattice(f).filter(v)[order])


@pytest.mark.parametrize("d", [1, 2, 5])
def test_one_point_alone(d: int) -> None:
    """It sees itself as points at the same place do, added up."""
    f = features(d, 1)
    alone = build_lattice(f).filter(torch.ones(1, 1))
    assert 0 < float(alone) <= math.sqrt(2) ** d
    many = build_lattice(f.expand(d, 7).contiguous()).filter(torch.ones(7, 1))
    assert torch.allclose(many, 7 * alone)
