"""What a boundary head learned of the classes, joined with scores: by hand, and in the walk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.refining.evidence import LEVEL, joined
from pseudomask.refining.walk import Walk, threshold_of
from pseudomask.refining.work import with_levels
from pseudomask.scores import ScoreMap


def test_odds_are_added() -> None:
    """By hand: logits 0.3 and 1.1 above background, scores of twice and half the threshold."""
    logits = torch.tensor([0.2, 0.5, 1.3])[:, None, None]
    scores = torch.tensor([0.8, 0.2])[:, None, None]
    first, second = 0.3 + 2 * np.log(2), 1.1 - 2 * np.log(2)
    wanted = [1 / (1 + np.exp(-first)), np.exp(second - first) / (1 + np.exp(-second))]
    assert joined(scores, logits, 0.4).flatten().tolist() == pytest.approx(wanted, rel=1e-5)


def test_without_an_opinion_the_mask_is_that_of_the_scores() -> None:
    torch.manual_seed(0)
    scores = torch.rand(2, 9, 11)
    for found in (joined(scores, torch.zeros(3, 9, 11), 0.3), joined(scores, torch.randn(3, 9, 11), 0.3, 0.0)):
        assert torch.equal(found.amax(0) > 0.5, scores.amax(0) > 0.3)
        assert torch.equal(found.argmax(0), scores.argmax(0))
    assert torch.isfinite(joined(torch.zeros(2, 3, 3), torch.full((3, 3, 3), 80.0), 0.0)).all()


class _Knows(EdgeNetwork):
    """Boundaries everywhere, so that nothing walks; what is bright is class 1."""

    def see(self, x: Tensor) -> Tensor:
        bright = x[:, :1, ::4, ::4] > x[:, 0].mean()
        known = torch.where(bright, 6.0, -6.0)
        return torch.cat([torch.full_like(known, 8.0), torch.zeros_like(known), known, -known, -known], 1)


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    return Walk(tiny.write_affinity(tmp_path, knows=True), tmp_path / "cam.safetensors")


def test_the_walk_joins_what_the_head_knows(walk: Walk) -> None:
    """The seed lies on the wrong half; what many photos taught wins where the seed is unsure."""
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 32:] = 255
    scores = ScoreMap((1,), np.full((1, 16, 16), 0.5, np.float32), (64, 64), 4)

    def mask(refiner: Walk) -> np.ndarray:
        refiner.__dict__["_network"] = _Knows(make_backbone(tiny.NARROW))
        found = refiner.refine(photo, scores, 0.5)
        return found.scores.mask(found.threshold)

    known = mask(walk.for_classes(tiny.CLASSES))
    assert (known[:, 40:] == 1).all()
    assert (known[:, :24] == 0).all()
    for other in (
        walk,
        walk.for_classes(tiny.CLASSES[::-1]),
        replace(walk, class_weight=0.0).for_classes(tiny.CLASSES),
    ):
        assert len(np.unique(mask(other))) == 1  # the seed alone does not tell the halves apart


def test_the_level_follows_from_the_classes(walk: Walk) -> None:
    assert with_levels([walk], 0.2, tiny.CLASSES)[0].level == LEVEL
    assert with_levels([walk], 0.2, tiny.CLASSES[::-1])[0].level == threshold_of(0.2)
