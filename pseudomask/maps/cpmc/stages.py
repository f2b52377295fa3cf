"""S0 to S6 in order, on the features and classifier maps of photos at one size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pseudomask.maps.cpmc.affinity import lengths
from pseudomask.maps.cpmc.calibration import against, calibrate, fuse, local_map, maximum
from pseudomask.maps.cpmc.context import propagate, reassign, stretch
from pseudomask.maps.cpmc.prototypes import background_of, cosine, prototypes, seeds
from pseudomask.maps.cpmc.regions import Regions, between_seeds, between_thresholds, without_small
from pseudomask.maps.cpmc.settings import CpmcSettings
from pseudomask.maps.normalise import normalise_maps


@dataclass(frozen=True)
class Stages:
    """The output of each step: (B, N, h, w) float32 in [0, 1), the regions bool; 0 in unused places.

    Attributes:
        classifier: S0, the classifier's map A.
        refined: S1, Aᵀ.
        prototype: S2, P.
        regions: S3.
        missing, noise: S4, N and Z, in units of P's maximum, so they may exceed 1; 0 if κ or λ is 0, respectively.
        calibrated: S5, M.
        output: S6, the result of the method.
    """

    classifier: Tensor
    refined: Tensor
    prototype: Tensor
    regions: Regions
    missing: Tensor
    noise: Tensor
    calibrated: Tensor
    output: Tensor


def refine(
    maps: Tensor, features: Tensor, valid: Tensor, settings: CpmcSettings, attention: Tensor | None = None
) -> Tensor:
    """S1: `propagate`, `reassign`, propagate and then one reassign (`both`), or nothing.

    Args:
        maps: (B, N, h, w) in [0, 1), 0 in unused places; features: (B, D, h, w); valid: (B, N).
        attention: (B, h·w, h·w), see `propagate`.

    Returns:
        (B, N, h, w) in [0, 1).
    """
    times = 0 if settings.refine == "none" else settings.iterations
    if times == 0:
        return maps
    if settings.refine != "reassign":
        maps = stretch(propagate(maps, features, power=settings.power, iterations=times, attention=attention))
        times = 1 if settings.refine == "both" else 0
    return reassign(
        maps,
        background_of(maps),
        features,
        valid,
        iterations=times,
        contrast=settings.contrast,
        background_weight=settings.background,
    )


def refined_map(
    maps: Tensor, context: Tensor, valid: Tensor, settings: CpmcSettings, attention: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """S0 and S1: raw classifier maps (B, N, h, w) ≥ 0 → A and Aᵀ, float32, 0 in unused places."""
    with torch.autocast(maps.device.type, enabled=False):
        classifier = normalise_maps(maps.float() * valid[..., None, None])
        return classifier, refine(classifier, context, valid, settings, attention)


def run_stages(
    maps: Tensor,
    context: Tensor,
    features: Tensor,
    valid: Tensor,
    settings: CpmcSettings,
    attention: Tensor | None = None,
) -> Stages:
    """All steps. Maps are float32, products of features in the features' precision; autocast is off.

    A photo's result does not depend on the rest of the batch.

    Args:
        maps: (B, N, h, w) ≥ 0, the classifier's raw maps of the present classes.
        context: (B, D, h, w), the last stage's features, for S1's affinity.
        features: (B, D', h, w), H, the features that prototypes are made from.
        valid: (B, N) bool, which places are used.
        attention: (B, h·w, h·w), which then is S1's affinity in place of `context`; see `propagate`.
    """
    classifier, refined = refined_map(maps, context, valid, settings, attention)
    with torch.autocast(maps.device.type, enabled=False):
        return calibrated_stages(classifier, refined, features, valid, settings)


def calibrated_stages(
    classifier: Tensor, refined: Tensor, features: Tensor, valid: Tensor, settings: CpmcSettings
) -> Stages:
    """S2 to S6, from A and Aᵀ; shapes as in `run_stages`."""
    labels = seeds(refined, background_of(refined), settings.background)  # (B, h, w)
    length = lengths(features)
    found = cosine(features, prototypes(features, labels, refined, valid), length)  # (B, 1 + N, h, w)
    background, of_class = found[:, :1], found[:, 1:]
    raw = against(of_class, background, settings.contrast)
    scale = maximum(raw)  # (B, N, 1, 1): P, N and Z share it, so that they compare like their cosines
    prototype = raw / scale

    regions = disagreement(refined, prototype, labels, settings)
    used = valid[..., None, None]
    missing = noise = torch.zeros_like(prototype)  # not computed if their weight in S5 is 0
    if settings.complete:
        missing = local_map(features, regions.negative, background, settings.contrast, length) / scale * used
    if settings.suppress:
        noise = local_map(features, regions.positive, of_class, settings.contrast, length) / scale * used

    target = refined if settings.target == "classifier" else prototype
    calibrated = calibrate(
        target, missing, noise, complete=settings.complete, suppress=settings.suppress, how=settings.calibration
    )
    output = refined if settings.output == "refined" else fuse(calibrated, refined, settings.gamma)
    return Stages(classifier, refined, prototype, regions, missing, noise, calibrated, output)


def disagreement(refined: Tensor, prototype: Tensor, labels: Tensor, settings: CpmcSettings) -> Regions:
    """S3 by the reading chosen in the settings, without small regions.

    Args:
        refined, prototype: (B, N, h, w) in [0, 1]; labels: (B, h, w), the refined map's seeds.
    """
    if settings.target == "argmax":
        by_prototype = seeds(prototype, background_of(prototype), settings.background)
        found = between_seeds(by_prototype, labels, refined.shape[1])
    else:
        pair = (prototype, refined) if settings.target == "prototype" else (refined, prototype)
        found = between_thresholds(*pair, high=settings.high, low=settings.low)
    return Regions(without_small(found.negative), without_small(found.positive))
