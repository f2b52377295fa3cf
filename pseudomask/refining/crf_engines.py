"""Engines that compute the CRF marginals: our torch code or pydensecrf. Their results agree up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pseudomask.config import CrfEngine
from pseudomask.errors import MissingExtra
from pseudomask.refining.lattice import Lattice, Shared
from pseudomask.refining.mean_field import bilateral_features, mean_field, pairwise, position_features

INSTALL = "pip install 'pseudomask[crf]' (Python below 3.13, with a C++ compiler), or use --engine torch"


class Kernels(NamedTuple):
    """Gaussians of position (smoothness) and of position and colour (appearance); xy and rgb: standard deviations."""

    gauss_xy: float
    gauss_weight: float
    bilateral_xy: float
    bilateral_rgb: float
    bilateral_weight: float

    def at(self, stride: int) -> Kernels:
        """The equivalent kernels for a photo downscaled by `stride`."""
        return self._replace(gauss_xy=self.gauss_xy / stride, bilateral_xy=self.bilateral_xy / stride)


def pick_engine(name: CrfEngine) -> Literal["torch", "pydensecrf"]:
    """`auto` picks torch, the faster one (docs/refinement-crf.md). Raises `MissingExtra` if pydensecrf is missing."""
    if name == "pydensecrf" and find_spec("pydensecrf") is None:
        raise MissingExtra(f"--engine pydensecrf: pydensecrf2 is not installed; {INSTALL}")
    return "pydensecrf" if name == "pydensecrf" else "torch"


def torch_marginals(
    photo: np.ndarray, unary: np.ndarray, kernels: Kernels, iterations: int, device: str = "cpu"
) -> np.ndarray:
    """Marginals (L, H, W) float32 for a (H, W, 3) uint8 photo and (L, H, W) float32 energies, L ≥ 2."""
    return batch_marginals([photo], [unary], kernels, iterations, device)[0]


def batch_marginals(
    photos: Sequence[np.ndarray], unaries: Sequence[np.ndarray], kernels: Kernels, iterations: int, device: str = "cpu"
) -> list[np.ndarray]:
    """`torch_marginals` for a batch of photos of equal shape; their numbers of labels may differ."""
    most, (height, width, _) = max(len(one) for one in unaries), photos[0].shape
    with torch.inference_mode():
        stacked = torch.from_numpy(np.stack(photos)).to(device)  # (B, H, W, 3)
        energies = torch.full((most, len(photos), height * width), torch.inf, device=device)  # ∞: no such label here
        for i, unary in enumerate(unaries):
            energies[: len(unary), i] = torch.from_numpy(unary).flatten(1).to(device)
        found = mean_field(energies.flatten(1), _pair_kernels(stacked, kernels), iterations).cpu().numpy()
    split = found.reshape(most, len(photos), height, width)
    return [split[: len(unary), i] for i, unary in enumerate(unaries)]


def _pair_kernels(photos: Tensor, kernels: Kernels) -> list[Lattice | Shared]:
    """The kernels with non-zero weight for a (B, H, W, 3) uint8 stack."""
    count, height, width, _ = photos.shape
    found: list[Lattice | Shared] = []
    if kernels.gauss_weight:
        position = _position_kernel(height, width, kernels.gauss_xy, kernels.gauss_weight, str(photos.device))
        found.append(position if count == 1 else Shared(position, count))
    if kernels.bilateral_weight:
        features = bilateral_features(photos, kernels.bilateral_xy, kernels.bilateral_rgb)
        found.append(pairwise(features, kernels.bilateral_weight, count))
    return found


@lru_cache(maxsize=4)  # photo sizes repeat within a folder, and this lattice does not depend on colour
def _position_kernel(height: int, width: int, reach: float, weight: float, device: str) -> Lattice:
    return pairwise(position_features(height, width, reach, device), weight)


def pydensecrf_marginals(photo: np.ndarray, unary: np.ndarray, kernels: Kernels, iterations: int) -> np.ndarray:
    """Like `torch_marginals`, computed by pydensecrf."""
    from pydensecrf.densecrf import DenseCRF2D

    labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1), np.float32))
    if kernels.gauss_weight:
        crf.addPairwiseGaussian(sxy=kernels.gauss_xy, compat=kernels.gauss_weight)
    if kernels.bilateral_weight:
        crf.addPairwiseBilateral(
            sxy=kernels.bilateral_xy,
            srgb=kernels.bilateral_rgb,
            rgbim=np.ascontiguousarray(photo),
            compat=kernels.bilateral_weight,
        )
    return np.array(crf.inference(iterations), np.float32).reshape(unary.shape)
