"""Our mean field against pydensecrf2's: at the default settings the same marginals, nearly to rounding."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pseudomask.refining.crf import PRESETS, energies
from pseudomask.refining.crf_engines import Kernels, pydensecrf_marginals, torch_marginals
from pseudomask.refining.mean_field import bilateral_features, free_energy, mean_field, pairwise, position_features

pytest.importorskip("pydensecrf", reason="pydensecrf2 (extra [crf]) is not installed")


def unary_of(labels: np.ndarray, count: int) -> np.ndarray:
    return energies((labels == np.arange(count)[:, None, None]).astype(np.float32), 0.7)


def compare(photo: np.ndarray, unary: np.ndarray, kernels: Kernels, iterations: int = 10) -> tuple[float, float]:
    """Share of pixels of equal argmax, mean difference of marginals."""
    ours = torch_marginals(photo, unary, kernels, iterations)
    theirs = pydensecrf_marginals(photo, unary, kernels, iterations)
    return float((ours.argmax(0) == theirs.argmax(0)).mean()), float(abs(ours - theirs).mean())


def synthetic(labels: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Smooth colours with edges and noise; a label map of blobs: uint8 (H, W, 3), int (H, W)."""
    rng = np.random.default_rng(labels)
    smooth = cv2.GaussianBlur(rng.random((*size, 3)).astype(np.float32), (0, 0), 9)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    photo = np.floor(smooth * 5) * 40 + rng.integers(0, 25, (*size, 3))
    blobs = cv2.GaussianBlur(rng.random((*size, labels)).astype(np.float32), (0, 0), 7)
    return photo.astype(np.uint8), blobs.reshape(*size, labels).argmax(-1)


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize(("labels", "size"), [(2, (61, 83)), (3, (64, 80)), (5, (50, 31))])
def test_synthetic_photos(preset: str, labels: int, size: tuple[int, int]) -> None:
    photo, truth = synthetic(labels, size)
    equal, difference = compare(photo, unary_of(truth, labels), PRESETS[preset])
    assert equal > 0.995
    assert difference < 0.002


@pytest.mark.parametrize("left_out", ["gauss_weight", "bilateral_weight"])
def test_each_kernel_alone(left_out: str) -> None:
    photo, truth = synthetic(3, (40, 52))
    equal, difference = compare(photo, unary_of(truth, 3), PRESETS["irn"]._replace(**{left_out: 0}))
    assert equal > 0.995
    assert difference < 0.002


def test_unary_is_theirs() -> None:
    from pydensecrf.utils import unary_from_labels

    labels = synthetic(4, (20, 30))[1]
    assert np.allclose(unary_of(labels, 4).reshape(4, -1), unary_from_labels(labels, 4, 0.7, zero_unsure=False))


def corrupted(mask: np.ndarray) -> np.ndarray:
    """As a seed is: coarse, and a few pixels off."""
    coarse = np.roll(mask, (9, -7), (0, 1))[::16, ::16]
    return np.kron(coarse, np.ones((16, 16), int))[: mask.shape[0], : mask.shape[1]]


@pytest.mark.shared
@pytest.mark.slow
def test_real_photos(shared: Path) -> None:
    """Four photos across the set, their masks made coarse: ≥ 99 % equal, marginals within 0.02, energies falling."""
    folder = shared / "data" / "voc"
    truths = sorted((folder / "SegmentationClass").glob("*.png"))
    assert truths
    for path in truths[:: max(1, len(truths) // 4)]:
        mask = np.array(Image.open(path))
        photo = np.array(Image.open(folder / "JPEGImages" / f"{path.stem}.jpg").convert("RGB"))
        present = [0, *(i for i in np.unique(mask) if 0 < i < 255)]
        labels = corrupted(np.searchsorted(present, np.where(mask == 255, 0, mask)))
        unary = unary_of(labels, len(present))
        equal, difference = compare(photo, unary, PRESETS["irn"])
        assert equal >= 0.99, path.stem
        assert difference <= 0.02, path.stem
        assert energies_fall(photo, unary), path.stem


def energies_fall(photo: np.ndarray, unary: np.ndarray) -> bool:
    kernels = [
        pairwise(position_features(*photo.shape[:2], 3), 3),
        pairwise(bilateral_features(torch.from_numpy(photo), 50, 5), 10),
    ]
    costs = torch.from_numpy(unary).flatten(1)
    found: list[float] = []
    mean_field(costs, kernels, 10, lambda q: found.append(free_energy(q, costs, kernels)))
    slack = 1e-6 * abs(found[0])  # float32's
    return all(after <= before + slack for before, after in itertools.pairwise(found)) and found[-1] < found[0]
