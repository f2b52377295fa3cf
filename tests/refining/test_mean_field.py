"""Mean field against the sums over all pairs of pixels, its energy, and what symmetry demands."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from pseudomask.refining.mean_field import (
    bilateral_features,
    free_energy,
    mean_field,
    pairwise,
    position_features,
)

H, W = 13, 17


def dense_kernel(features: Tensor, weight: float) -> SimpleNamespace:
    """The exact Gaussian kernel, normalised symmetrically; the self-tie stays, as in the lattice."""
    gauss = torch.exp(-torch.cdist(features.T, features.T).square() / 2)
    scale = gauss.sum(1).rsqrt()
    matrix = weight * scale[:, None] * gauss * scale
    return SimpleNamespace(matrix=matrix, filter=lambda v: matrix @ v)


def problem(labels: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A photo of two halves, and energies that know them, noisily: (H, W, 3) uint8, (L, N)."""
    generator = torch.Generator().manual_seed(seed)
    photo = torch.full((H, W, 3), 60)
    photo[:, W // 2 :] = 180
    photo = (photo + torch.randint(-6, 7, (H, W, 3), generator=generator)).to(torch.uint8)
    unary = torch.rand(labels, H * W, generator=generator)
    half = (torch.arange(W) >= W // 2).long().expand(H, W).flatten()
    unary.scatter_add_(0, half[None], torch.full((1, H * W), -0.3))
    return photo, unary


def lattices(photo: Tensor) -> list:
    return [pairwise(position_features(H, W, 2.0), 2.0), pairwise(bilateral_features(photo, 8.0, 12.0), 4.0)]


def exact(photo: Tensor) -> list[SimpleNamespace]:
    return [
        dense_kernel(position_features(H, W, 2.0), 2.0),
        dense_kernel(bilateral_features(photo, 8.0, 12.0), 4.0),
    ]


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_it_is_the_update_written_out(labels: int) -> None:
    """Krähenbühl and Koltun's algorithm 1: every label filtered, penalties from all others. Exact kernels."""
    photo, unary = problem(labels)
    kernels = exact(photo)
    q = torch.softmax(-unary.double(), 0)
    potts = (1 - torch.eye(labels)).double()
    for _ in range(4):
        messages = sum(q @ kernel.matrix.double() for kernel in kernels)  # (L, N)
        q = torch.softmax(-unary.double() - potts @ messages, 0)
    found = mean_field(unary, kernels, 4)
    assert torch.allclose(found.sum(0), torch.ones(H * W))
    for kernel in kernels:
        assert torch.allclose(kernel.matrix, kernel.matrix.T)
    assert torch.allclose(found.double(), q, atol=1e-4)


def test_lattice_and_exact_kernels_agree() -> None:
    photo, unary = problem()
    found, expected = mean_field(unary, lattices(photo), 5), mean_field(unary, exact(photo), 5)
    assert (found.argmax(0) == expected.argmax(0)).float().mean() > 0.97
    assert (found - expected).abs().mean() < 0.05


def test_constants_survive_normalisation() -> None:
    """D^-½ K D^-½ √D = √D: the form with row sums divided out, D^-1 K, gives 1 for a constant 1."""
    photo, _ = problem()
    features = bilateral_features(photo, 8.0, 12.0).double()
    kernel = pairwise(features, 1.0)
    n = H * W
    matrix = kernel.filter(torch.eye(n).double())
    root = (kernel.outward.new_zeros(n)).index_add_(0, kernel.points.long(), kernel.outward)  # D^-½: weights sum to 1
    assert torch.allclose(matrix @ (1 / root), 1 / root)
    assert torch.allclose(root * (matrix @ (1 / root)), torch.ones(n).double())


@pytest.mark.parametrize("kind", [lattices, exact])
def test_energy_falls_at_every_step(kind: Callable[[Tensor], list]) -> None:
    photo, unary = problem()
    kernels = kind(photo)
    energies: list[float] = []
    mean_field(unary, kernels, 8, lambda q: energies.append(free_energy(q, unary, kernels)))
    assert len(energies) == 9
    assert all(after <= before + 1e-3 for before, after in itertools.pairwise(energies))
    assert energies[-1] < energies[0] - 1


def test_free_energy_of_hand_made_marginals() -> None:
    """One-hot marginals have no entropy: their energies minus half of what equal pairs earn."""
    photo, unary = problem(2)
    kernel = exact(photo)[1]
    label = unary.argmin(0)
    q = torch.nn.functional.one_hot(label, 2).T.float()
    same = (label[:, None] == label).double()
    expected = unary.double().amin(0).sum() - 0.5 * (same * kernel.matrix.double()).sum()
    assert free_energy(q, unary, [kernel]) == pytest.approx(float(expected), rel=1e-5)


def test_noise_is_cleaned_along_the_edge() -> None:
    photo, unary = problem(2)
    half = (torch.arange(W) >= W // 2).long().expand(H, W).flatten()
    before = (unary.argmin(0) == half).float().mean()
    after = (mean_field(unary, lattices(photo), 5).argmax(0) == half).float().mean()
    assert before < 0.85
    assert after > 0.98


def test_labels_are_interchangeable() -> None:
    """Label 0 is only the one that others are compared with."""
    photo, unary = problem(4)
    kernels, order = lattices(photo), torch.tensor([2, 0, 3, 1])
    assert torch.allclose(mean_field(unary, kernels, 5)[order], mean_field(unary[order], kernels, 5), atol=1e-4)


def test_energies_beyond_float32_exponents_are_no_trouble() -> None:
    photo, unary = problem(3)
    found = mean_field(1000 * unary, lattices(photo), 2)
    assert torch.isfinite(found).all()
    assert torch.allclose(found.sum(0), torch.ones(H * W))


def test_without_steps_or_kernels_it_is_the_softmax() -> None:
    photo, unary = problem(3)
    expected = torch.softmax(-unary, 0)
    assert torch.allclose(mean_field(unary, lattices(photo), 0), expected)
    assert torch.allclose(mean_field(unary, [], 3), expected)
