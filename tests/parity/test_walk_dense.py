"""The sparse walk against the published formulation: a dense matrix of indexed pairs, squared eight times."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from pseudomask.refining.transitions import random_walk


def straight(y: int, x: int) -> list[tuple[int, int]]:
    """Lattice points at a distance below 1 from the segment 0–(y, x), within its box."""
    length = np.hypot(y, x)
    rows, columns = range(min(0, y), max(0, y) + 1), range(min(0, x), max(0, x) + 1)
    return [(a, b) for a, b in product(rows, columns) if abs(y * b - x * a) / length < 1 - 1e-9]


def dense_walk(scores: np.ndarray, edges: np.ndarray, radius: int, beta: float, exponent: int) -> np.ndarray:
    """IRN's public code to the letter: (n, h, w) → (n, h, w)."""
    h, w = edges.shape
    affinity = np.eye(h * w)
    for (i, j), y, x in product(np.ndindex(h, w), range(radius), range(1 - radius, radius)):
        ahead = y > 0 or x > 0
        if not (ahead and y * y + x * x < radius * radius and i + y < h and 0 <= j + x < w):
            continue
        value = 1 - max(edges[i + a, j + b] for a, b in straight(y, x))
        one, other = i * w + j, (i + y) * w + j + x
        affinity[one, other] = affinity[other, one] = value
    matrix = affinity**beta
    matrix /= matrix.sum(0, keepdims=True)
    for _ in range(exponent):
        matrix = matrix @ matrix
    return ((scores * (1 - edges)).reshape(len(scores), -1) @ matrix).reshape(scores.shape)


def scene(h: int, w: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Boundaries that are smooth blobs between 0 and 1, and scores of three classes."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, h // 4 + 1, w // 4 + 1, generator=generator, dtype=torch.float64)
    edges = torch.sigmoid(torch.nn.functional.interpolate(coarse, size=(h, w), mode="bicubic")[0, 0] * 4 - 2)
    return torch.rand(3, h, w, generator=generator, dtype=torch.float64).numpy() ** 4, edges.numpy()


@pytest.mark.parametrize(
    ("size", "radius", "beta", "exponent"),
    [
        ((19, 27), 5, 10.0, 8),
        ((26, 14), 5, 10.0, 8),
        ((11, 12), 8, 4.5, 8),
        ((3, 30), 5, 10.0, 8),
        ((15, 15), 2, 1.0, 5),
        ((12, 13), 3, 10.0, 0),
        ((12, 13), 3, 10.0, 1),
        ((9, 16), 4, 2.0, 12),
    ],
)
def test_equals_the_dense_formulation(size: tuple[int, int], radius: int, beta: float, exponent: int) -> None:
    scores, edges = scene(*size, seed=sum(size))
    wanted = dense_walk(scores, edges, radius, beta, exponent)
    found = random_walk(
        torch.from_numpy(scores), torch.from_numpy(edges), radius=radius, beta=beta, exponent=exponent
    ).numpy()
    assert abs(found - wanted).max() <= 1e-7 * wanted.max()
    seen = wanted > 1e-2 * wanted.max()
    assert (abs(found - wanted)[seen] <= 1e-5 * wanted[seen]).all()


def test_scores_and_boundaries_of_a_network_are_float32() -> None:
    scores, edges = (values.astype(np.float32) for values in scene(16, 22, seed=1))
    wanted = dense_walk(scores.astype(float), edges.astype(float), 5, 10.0, 8)
    found = random_walk(torch.from_numpy(scores), torch.from_numpy(edges)).numpy()
    assert abs(found - wanted).max() <= 1e-7 * wanted.max()
