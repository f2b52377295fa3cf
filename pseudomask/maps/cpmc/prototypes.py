"""S0 and S2: seeds from maps, a feature prototype of each class from its seeds, and the prototype map.

Evidence. Abstract: prototype maps generated alongside the classifier's cover more of an object, but are incomplete
and noisy. Related published work: seeds by argmax with a weighted background plane, masked means and ReLU(cos)
are SIPE's and SFC's; subtracting the background's prototype follows POT's and LPCAM's use of context. Ours:
the fall-back for a class without seeds.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.maps.cpmc.affinity import lengths

TOP_SHARE = 0.01
"""A class without seeds uses this share of the positions, those where its map is highest."""


def background_of(maps: Tensor) -> Tensor:
    """A_0 = 1 − max_c A_c: (B, N, h, w) in [0, 1] → (B, 1, h, w) in [0, 1]."""
    return (1 - maps.amax(1, keepdim=True)).clamp(min=0)


def seeds(maps: Tensor, background: Tensor, weight: float) -> Tensor:
    """The strongest class at each position, with the background's plane multiplied by `weight`.

    Args:
        maps: (B, N, h, w), ≥ 0, 0 in unused places.
        background: (B, 1, h, w), ≥ 0.

    Returns:
        (B, h, w) int64: 0 for background (which wins ties), n + 1 for the class at place n.
    """
    return torch.cat([weight * background, maps], 1).argmax(1)


def prototypes(features: Tensor, labels: Tensor, maps: Tensor, valid: Tensor) -> Tensor:
    """Mean features of the seeds of the background and of each class.

    A class without seeds falls back to the top 1 % of its map, at least one position. Classes without a map,
    a background without seeds, and unused places get 0.

    Args:
        features: (B, D, h, w).
        labels: (B, h, w) int64, see `seeds`.
        maps: (B, N, h, w); valid: (B, N) bool.

    Returns:
        (B, 1 + N, D), background first.
    """
    planes = F.one_hot(labels, maps.shape[1] + 1).permute(0, 3, 1, 2)  # (B, 1 + N, h, w)
    chosen = planes[:, 1:].to(features.dtype)
    missing = chosen.sum((2, 3)) == 0  # (B, N)
    # A GPU is quicker at work that may be in vain than at telling the host whether it is.
    if features.device.type != "cpu" or bool((missing & valid).any()):
        chosen = torch.where(missing[..., None, None], top(maps), chosen)
    chosen = chosen * valid[..., None, None]
    return masked_mean(features, torch.cat([planes[:, :1].to(features.dtype), chosen], 1))


def top(maps: Tensor, share: float = TOP_SHARE) -> Tensor:
    """1 at the `share` of positions where a map is highest (and above 0), else 0: (B, N, h, w) → same."""
    flat = maps.flatten(2)
    places = flat.topk(max(1, int(share * flat.shape[2])), dim=2).indices
    return (torch.zeros_like(flat).scatter(2, places, 1.0) * (flat > 0)).view_as(maps)


def masked_mean(features: Tensor, masks: Tensor) -> Tensor:
    """Mean of the features under each mask, 0 under an empty one: (B, D, h, w), (B, K, h, w) → (B, K, D) float32."""
    masks = masks.flatten(2)
    if features.dtype is torch.float16:  # the sum would soon exceed 65,504
        features = features.float()
    total = masks.to(features.dtype) @ features.flatten(2).transpose(1, 2)  # (B, K, D)
    return total.float() / masks.sum(2, keepdim=True).clamp(min=1)


def cosine(features: Tensor, vectors: Tensor, length: Tensor | None = None) -> Tensor:
    """ReLU(cos) of every position with every vector: (B, D, h, w), (B, K, D) → (B, K, h, w) float32 in [0, 1].

    0 for a vector of length 0. `length` is `affinity.lengths(features)`, if already known.
    """
    products = F.normalize(vectors, dim=2).to(features.dtype) @ features.flatten(2)  # (B, K, hw)
    # dividing the few products is cheaper than a normalised copy of the features
    found = products.float().unflatten(2, features.shape[-2:])
    return torch.relu(found / (lengths(features) if length is None else length))
