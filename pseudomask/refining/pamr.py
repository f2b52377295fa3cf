"""PAMR, pixel-adaptive mask refinement (Araslanov & Roth, CVPR 2020).

Each iteration replaces a pixel's scores by the mean of its neighbours' scores, weighted by colour similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pseudomask.config import RefineConfig
from pseudomask.refining.grid import scores_on_grid, shrink
from pseudomask.refining.refiner import Refined, alike
from pseudomask.scores import ScoreMap

DILATIONS = (1, 2, 4, 8, 12, 24)
_TINY = 1e-8  # avoids division by 0 in regions of constant colour, where all neighbours then weigh the same


def pamr(
    photos: Tensor,
    maps: Tensor,
    *,
    iterations: int = 10,
    dilations: Sequence[int] = DILATIONS,
    softness: float = 0.1,
) -> Tensor:
    """Maps after `iterations` of weighted means over 8 neighbours at each dilation, with the border replicated.

    The weights of a pixel sum to 1, so a constant map is unchanged and no value leaves its map's range. The operation
    is linear in `maps`: refining a constant background plane along with them would change nothing.

    Args:
        photos: (B, 3, h, w) float32, at any scale: only ratios of differences matter.
        maps: (B, N, h, w) float32.

    Returns:
        (B, N, h, w) float32.
    """
    if iterations == 0 or maps.shape[1] == 0:
        return maps
    weights = affinity(photos, dilations, softness)
    reach, steps = max(dilations), offsets(dilations)
    for _ in range(iterations):
        padded = _pad(maps, reach)
        maps = torch.zeros_like(maps)
        for k, step in enumerate(steps):
            maps.addcmul_(weights[:, k, None], _shifted(padded, step, reach, maps.shape))
    return maps


def affinity(photos: Tensor, dilations: Sequence[int] = DILATIONS, softness: float = 0.1) -> Tensor:
    """Softmax over the neighbours q of −mean_c |I_p − I_q| / (softness · σ_p): (B, 3, h, w) → (B, 8·D, h, w).

    σ_p is each channel's standard deviation (with n − 1), pooled over the 3×3 windows at all D dilations.
    """
    reach, steps = max(dilations), offsets(dilations)
    padded = _pad(photos, reach)
    total, squares = torch.zeros_like(photos), torch.zeros_like(photos)
    for step in steps:  # differences from the centre give the same deviation without rounding errors from large means
        difference = _shifted(padded, step, reach, photos.shape) - photos
        total += difference
        squares.addcmul_(difference, difference)
    n = 9 * len(dilations)  # the centre is in each window; its difference is 0
    deviation = ((squares - total * total / n) / (n - 1)).clamp(min=0).sqrt()
    scale = -1 / (photos.shape[1] * (softness * deviation + _TINY))
    batch, _, h, w = photos.shape
    weights = photos.new_empty(batch, len(steps), h, w)
    for k, step in enumerate(steps):
        weights[:, k] = (_shifted(padded, step, reach, photos.shape) - photos).abs_().mul_(scale).sum(1)
    weights -= weights.amax(1, keepdim=True)
    weights.exp_()
    return weights.div_(weights.sum(1, keepdim=True))


def offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """(dy, dx) of the 8 neighbours at each dilation."""
    around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    return [(d * y, d * x) for d in dilations for y, x in around]


def _pad(maps: Tensor, reach: int) -> Tensor:
    return F.pad(maps, (reach, reach, reach, reach), mode="replicate")


def _shifted(padded: Tensor, step: tuple[int, int], reach: int, shape: Sequence[int]) -> Tensor:
    """A view that holds, at each pixel, its neighbour's value."""
    y, x = reach + step[0], reach + step[1]
    return padded[..., y : y + shape[-2], x : x + shape[-1]]


@dataclass(frozen=True)
class Pamr:
    """The refiner. It downscales the photo by an integer factor so that its long side is at most `side`."""

    iterations: int = 10
    dilations: tuple[int, ...] = DILATIONS
    softness: float = 0.1
    side: int = 160
    device: str = "cpu"

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        """Scores at the working stride, with the same threshold (PAMR leaves a constant plane unchanged)."""
        return self.refine_batch([photo], [scores], threshold)[0]

    def refine_batch(self, photos: Sequence[np.ndarray], scores: Sequence[ScoreMap], threshold: float) -> list[Refined]:
        """`refine` each photo; photos of equal size are batched, even if their numbers of classes differ."""
        found = [Refined(one, threshold) for one in scores]
        for size, group in alike([one.size if one.classes and self.iterations else None for one in scores]):
            stride = -(-max(size) // self.side)
            some = [scores[i] for i in group]
            refined = self._refined(
                [shrink(photos[i], stride) for i in group], [scores_on_grid(s, stride) for s in some]
            )
            for i, one, values in zip(group, some, refined, strict=True):
                found[i] = Refined(ScoreMap(one.classes, values, size, stride), threshold)
        return found

    def _refined(self, photos: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Refine maps (n, h, w) by photos (h, w, 3), all float32 and of the same size; the results are in [0, 1]."""
        with torch.inference_mode():
            images = torch.from_numpy(np.stack(photos)).to(self.device).permute(0, 3, 1, 2) / 255
            padded = torch.zeros(len(maps), max(len(one) for one in maps), *images.shape[-2:])
            for slot, one in zip(padded, maps, strict=True):
                slot[: len(one)] = torch.from_numpy(one)
            padded = padded.to(self.device)
            out = pamr(
                images.contiguous(),
                padded,
                iterations=self.iterations,
                dilations=self.dilations,
                softness=self.softness,
            )
        return [np.clip(one[: len(given)], 0, 1) for one, given in zip(out.cpu().numpy(), maps, strict=True)]


def make(config: RefineConfig, device: str) -> Pamr:
    return Pamr(config.pamr_iterations, config.pamr_dilations, config.pamr_softness, config.pamr_side, device)
