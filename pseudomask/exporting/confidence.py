"""How sure the scores are of each class in a mask, for tools that show predictions with their confidence."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pseudomask.errors import UsageError
from pseudomask.exporting.source import Piece
from pseudomask.quoting import count
from pseudomask.running.layout import Outputs
from pseudomask.scores import ScoreMap, load_scores


def confidences(piece: Piece, mask: np.ndarray, counts: Counter[str]) -> dict[int, float]:
    """Mean stored score in [0, 1] of each class over its pixels in `mask` (H, W), by mask index.

    Classes without stored scores are left out; `counts["unscored"]` counts masks without any that can be used.
    """
    scores = _scores(piece)
    if scores is None or scores.size != mask.shape:
        counts["unscored"] += 1
        return {}
    found = {}
    for index, plane in zip(scores.classes, scores.planes(), strict=True):
        inside = mask == index
        if inside.any():
            found[index] = round(float(plane[inside].mean()), 4)
    return found


def unscored(counts: Counter[str]) -> list[str]:
    """A sentence about masks without a confidence, if there are any."""
    n = counts["unscored"]
    return [f"{count(n, 'mask')} without confidence: no usable file in OUT/scores"] if n else []


def _scores(piece: Piece) -> ScoreMap | None:
    path = Outputs(piece.key, piece.mask.parents[piece.key.count("/")]).scores
    try:
        return load_scores(path)
    except UsageError:
        return None
