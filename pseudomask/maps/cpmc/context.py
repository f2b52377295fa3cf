"""S1, context feature dependency: the classifier's maps, propagated to positions with similar features.

Evidence. Abstract: an "iterative refinement strategy based on context feature dependency" is applied to the
classifier's maps. Related published work: `propagate` is SEAM's and SFC's pixel-correlation step without its
learned layer; `reassign` re-seeds from context-aggregated features, as unused code in POT's repository does. Ours:
that the abstract means these two, the power, stretching, the map form of `reassign`, and the stop rule.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pseudomask.maps.cpmc.affinity import affinity, blocks, carry, pool, pooling, unit
from pseudomask.maps.cpmc.prototypes import cosine, prototypes, seeds
from pseudomask.maps.normalise import normalise_maps

KEEP = 0.8
"""`reassign` aggregates only over positions at least this similar."""

STOP = 0.01
"""`reassign` stops for a photo once no larger share of its positions changes class."""

FLAT = 1e-3
"""A map whose values differ by less than this share of the maximum is considered flat."""


def propagate(
    maps: Tensor, features: Tensor, *, power: float, iterations: int, attention: Tensor | None = None
) -> Tensor:
    """A ← A Ŝ, `iterations` times, with Ŝ_ij = S_ij / Σ_i S_ij and S = ReLU(cos)^power, or S_ij the attention from
    j to i.

    On a large grid, all products but the last run on the pooled grid (`affinity.MOST_SOURCES`).

    Args:
        maps: (B, N, h, w), ≥ 0.
        features: (B, D, h, w), of any precision.
        attention: (B, h·w, h·w), rows are queries; taken in place of the features (TransCAM, MCTformer).

    Returns:
        (B, N, h, w) float32, each value a weighted mean of its map's values.
    """
    if iterations == 0:
        return maps
    if attention is not None:
        values = maps.flatten(2)
        for _ in range(iterations):
            values = carry(values, attention.mT)
        carried: Tensor = values.unflatten(2, maps.shape[-2:])
        return carried
    factor = pooling((maps.shape[-2], maps.shape[-1]))
    sources = unit(pool(features, factor))  # (B, D, Q)
    values = pool(maps, factor).flatten(2)  # (B, N, Q)
    within = iterations - (factor > 1)
    if within:
        similar = affinity(sources, sources, power)  # (B, Q, Q)
        for _ in range(within):
            values = carry(values, similar)
    if factor > 1:
        parts = blocks(unit(features))
        values = torch.cat([carry(values, affinity(sources, one, power)) for one in parts], 2)
    found: Tensor = values.unflatten(2, maps.shape[-2:])
    return found


def stretch(maps: Tensor) -> Tensor:
    """Minimum to 0 and maximum to 1, for each map that is not flat; a flat one is divided by its maximum.

    Ours: propagation lifts a whole map, so seeds and thresholds suited to sharp maps would find no background.

    Args:
        maps: (B, N, h, w), ≥ 0.

    Returns:
        (B, N, h, w) in [0, 1).
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return normalise_maps(maps - torch.where(high - low > FLAT * high, low, 0))


def gather(features: Tensor, keep: float = KEEP) -> Tensor:
    """u_i = Σ_j S_ij 1[S_ij ≥ keep] x_j, scaled to length 1: (B, D, h, w) → (B, D, h, w).

    A position similar to no source (possible only if the sources were pooled) keeps its own feature.
    """
    factor = pooling((features.shape[-2], features.shape[-1]))
    pooled = pool(features, factor)
    values, sources = pooled.flatten(2), unit(pooled)  # (B, D, Q)
    found = []
    for one in blocks(unit(features)):
        similar = affinity(sources, one, 1)  # (B, Q, P')
        similar = similar * (similar >= keep)
        u = values @ similar.to(values.dtype)  # (B, D, P')
        found.append(torch.where(similar.sum(1, keepdim=True) > 0, u, one))
    joined: Tensor = unit(torch.cat(found, 2)[..., None]).unflatten(2, features.shape[-2:])
    return joined


def reassign(
    maps: Tensor,
    background: Tensor,
    features: Tensor,
    valid: Tensor,
    *,
    iterations: int,
    contrast: float,
    background_weight: float,
    stop: float = STOP,
) -> Tensor:
    """Compare prototypes from the maps' seeds with context-aggregated features; repeat with the resulting seeds.

    r_c = ReLU(cos(u, p_c)), A_c = ReLU(r_c − contrast · r_0) / max: the excess over the background's prototype.
    A photo whose seeds changed at no more than a share `stop` of its positions keeps its map from then on,
    whatever happens to the rest of the batch.

    Args:
        maps: (B, N, h, w) in [0, 1]; background: (B, 1, h, w); see `prototypes.seeds`.
        features: (B, D, h, w).
        valid: (B, N) bool.

    Returns:
        (B, N, h, w) in [0, 1), 0 in unused places; `maps` itself if `iterations` is 0.
    """
    if iterations == 0:
        return maps
    around = gather(features)  # (B, D, h, w)
    labels = seeds(maps, background, background_weight)  # (B, h, w)
    active = torch.ones(len(maps), dtype=torch.bool, device=maps.device)
    for _ in range(iterations):
        found = cosine(around, prototypes(features, labels, maps, valid))  # (B, 1 + N, h, w)
        new = normalise_maps(torch.relu(found[:, 1:] - contrast * found[:, :1])) * valid[..., None, None]
        maps = torch.where(active[:, None, None, None], new, maps)
        # A_c is 0 where the background's prototype wins, so no further background plane is needed.
        again = torch.where(maps.amax(1) > 0, maps.argmax(1) + 1, 0)
        changed = (again != labels).float().mean((1, 2))  # (B,)
        labels = torch.where(active[:, None, None], again, labels)
        active = active & (changed > stop)
        if not active.any():
            break
    return maps
