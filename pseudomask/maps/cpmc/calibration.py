"""S4 to S6: local prototypes of the disagreement regions, the calibrated map, and its fusion.

Evidence. Abstract: local prototypes from false-negative and false-positive regions complete missing parts and
suppress background noise. Related published work: subtracting context from a class inside a ReLU (LPCAM, FPR,
POT), and fusing the classifier's and the prototype map by a weighted sum (SFC). Ours: this formula.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pseudomask.config import CpmcCalibration
from pseudomask.maps.cpmc.prototypes import cosine, masked_mean
from pseudomask.maps.normalise import EPSILON, normalise_maps


def against(found: Tensor, rival: Tensor, contrast: float) -> Tensor:
    """ReLU(found − contrast · rival), for cosines of one shape (or one that broadcasts)."""
    return torch.relu(found - contrast * rival)


def maximum(maps: Tensor) -> Tensor:
    """Each map's maximum + 1e-5: (B, N, h, w) → (B, N, 1, 1)."""
    return maps.amax((-2, -1), keepdim=True) + EPSILON


def local_map(
    features: Tensor, regions: Tensor, rival: Tensor, contrast: float, length: Tensor | None = None
) -> Tensor:
    """How much more similar a position is to its region's mean feature than to the rival prototype.

    Args:
        features: (B, D, h, w).
        regions: (B, N, h, w) bool; an empty region gives a map of 0.
        rival: (B, N or 1, h, w), the rival prototype's cosines.
        length: see `prototypes.cosine`.

    Returns:
        (B, N, h, w) in [0, 1].
    """
    return against(cosine(features, masked_mean(features, regions), length), rival, contrast)


def calibrate(
    target: Tensor, missing: Tensor, noise: Tensor, *, complete: float, suppress: float, how: CpmcCalibration
) -> Tensor:
    """`soft`: ReLU(max(target, κ·missing) − λ·noise); `hard`: max(…) kept where it exceeds λ·noise. Then / max.

    κ = `complete` and λ = `suppress`; with both 0 the result is the target, max-normalised.

    Args:
        target, missing, noise: (B, N, h, w), ≥ 0.

    Returns:
        (B, N, h, w) in [0, 1).
    """
    whole = torch.maximum(target, complete * missing)
    left = whole - suppress * noise
    return normalise_maps(torch.relu(left) if how == "soft" else whole * (left > 0))


def fuse(calibrated: Tensor, classifier: Tensor, gamma: float) -> Tensor:
    """M + γ·A, / max: (B, N, h, w) each → (B, N, h, w) in [0, 1). With γ = 0 this is the calibrated map."""
    return calibrated if gamma == 0 else normalise_maps(calibrated + gamma * classifier)
