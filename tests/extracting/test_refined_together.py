"""Photos of a batch are refined together, and alone where that fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from pseudomask.errors import PseudomaskError
from pseudomask.extracting.refinement import Refinement, Seed
from pseudomask.scores import ScoreMap


def seed(key: str) -> Seed:
    scores = ScoreMap((1,), np.full((1, 2, 2), 0.25, np.float32), (2, 2), 1)
    return Seed(key, np.zeros((2, 2, 3), np.uint8), scores)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough memory to refine it"),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), "not enough memory to refine it"),
        (PseudomaskError("odd"), "odd"),
        (ValueError(), "ValueError"),
    ],
)
def test_one_that_cannot_be_refined_takes_no_other_with_it(error: Exception, told: str) -> None:
    asked: list[tuple[str, ...]] = []

    def refine(keys: Sequence[str], photos: Any, scores: Sequence[ScoreMap], found: Any) -> list[ScoreMap]:
        asked.append(tuple(keys))
        if "b" in keys:
            raise error
        return [ScoreMap(one.classes, one.values * 2, one.size, one.stride) for one in scores]

    chain = Refinement(("crf",), 0.7, refine)
    found, fit = chain.apply_all([seed(key) for key in "abc"], 0.3, 16)
    assert fit == (1 if "memory" in told else 16), "the next batch is as small"
    assert asked == [("a", "b", "c"), ("a",), ("b",), ("c",)]
    assert [float(scores.values[0, 0, 0]) for scores, _, _ in found] == [0.5, 0.25, 0.5]
    assert [level for _, level, _ in found] == [0.7, 0.3, 0.7]
    refined, not_refined = ({"threshold": 0.3, "masks_threshold": 0.7, "refined": "crf"}, told)
    assert [done for _, _, done in found] == [
        refined,
        {"threshold": 0.3, "masks_threshold": 0.3, "unrefined": not_refined},
        refined,
    ]
    asked.clear()
    found, fit = chain.apply_all([seed("a"), seed("c"), seed("d")], 0.3, 2)
    assert ([one[2] for one in found], fit) == ([refined] * 3, 2)
    assert asked == [("a", "c"), ("d",)]


def test_a_mistake_of_ours_is_not_hidden() -> None:
    def refine(*_: Any) -> list[ScoreMap]:
        raise TypeError("a mistake")

    with pytest.raises(TypeError, match="a mistake"):
        Refinement(("crf",), 0.7, refine).apply_all([seed("a"), seed("b")], 0.3, 2)
