"""One image's files: scores, mask, overlay, and its line for the manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pseudomask.config import ExtractConfig, PredictConfig, RefineConfig
from pseudomask.extracting.refinement import Applied
from pseudomask.masks import overlay, save_mask, save_picture
from pseudomask.running.layout import Outputs
from pseudomask.running.manifest import DONE
from pseudomask.scores import ScoreMap, quantise, save_scores


def describe_mask(mask: np.ndarray, scores: ScoreMap, threshold: float, names: Sequence[str]) -> dict[str, Any]:
    """Figures about a mask for its manifest line.

    `area`: share of the pixels by class name; `empty`: tags without a pixel; `margin`: mean over the
    score grid of the best value's distance to the next best (the background counts with `threshold`).
    """
    counts = np.bincount(mask.ravel(), minlength=1)
    present = [c for c in scores.classes if c < len(counts) and counts[c]]
    shares = {names[c - 1]: round(float(counts[c]) / mask.size, 4) for c in present}
    planes = np.concatenate([np.full((1, *scores.values.shape[1:]), threshold, np.float32), scores.values])
    top = np.sort(planes, axis=0)[-2:]
    margin = float((top[-1] - top[0]).mean()) if len(planes) > 1 else 1.0
    return {
        "area": shares,
        "empty": [names[c - 1] for c in scores.classes if names[c - 1] not in shares],
        "margin": round(margin, 4),
        "ignored": 0.0,
    }


def bits_of(config: ExtractConfig | RefineConfig | PredictConfig) -> Literal[8, 16]:
    """Of a stored score."""
    return 8 if config.score_bits == "8" else 16


def as_stored(scores: ScoreMap, config: ExtractConfig | RefineConfig | PredictConfig) -> ScoreMap:
    """Scores as they will be in their file."""
    return quantise(scores, bits_of(config))


def write_outputs(
    outputs: Outputs,
    relative: str,
    scores: ScoreMap,
    config: ExtractConfig | RefineConfig | PredictConfig,
    *,
    threshold: float,
    names: Sequence[str],
    tags_from: str,
    inputs: Mapping[str, Any],
    photo: np.ndarray | None,
    refine: Callable[[ScoreMap], Applied] | None = None,
) -> dict[str, Any]:
    """Write an image's files, the mask last, and return its manifest entry.

    The mask is made from the scores as they are stored, so that it can be made again from them. `inputs` goes into the
    entry: the identities of photo and seed when they were read. `photo`: uint8 (H, W, 3), for the overlay. `refine`
    finds better scores than are stored, for the mask.
    """
    stored, bits = as_stored(scores, config), bits_of(config)
    shown, level, refined = stored, threshold, dict[str, Any]()
    if refine is not None:
        shown, level, refined = refine(stored)
        shown = quantise(shown, bits)
    mask = shown.mask(level)
    if config.scores:
        save_scores(outputs.scores, stored, bits=bits)
    if config.overlay and photo is not None:
        save_picture(outputs.overlay, overlay(photo, mask, names=names))
    save_mask(outputs.mask, mask, mode=config.mask_mode)
    return {
        "key": outputs.key,
        "image": relative,
        "status": DONE,
        "mask": f"{outputs.key}.png",
        "size": list(scores.size),
        "classes": [names[c - 1] for c in scores.classes],
        "tags": tags_from,
        **inputs,
        **refined,
        **describe_mask(mask, shown, level, names),
    }
