"""Scores joined with what a boundary head learned of the classes. Ours; measured in docs/refinement-walk.md.

A photo's seeds know where its own classes are most themselves; the head, taught by the confident seeds of many photos,
knows how each class and the background look in general. Where one photo's seeds err, it is often right.
"""

from __future__ import annotations

from torch import Tensor

LEVEL = 0.5
"""Background threshold of the scores that `joined` makes, before and after the walk."""
POWER = 2.0
"""Of the walk's mean over such scores; LEVEL and POWER were chosen on train photos."""
SHARPNESS = 2.0
"""How many of the head's logits a seed's score counts for when it doubles, divided by log 2."""
_LEAST = 1e-3


def joined(scores: Tensor, logits: Tensor, threshold: float, weight: float = 1.0) -> Tensor:
    """Per class the probability against background, from the log odds of both, added.

    The head's are the class's logit less the background's, times `weight`; the scores' are 2·log(score / threshold).
    Classes compete: a weaker one's probability is multiplied by its odds relative to the strongest's.

    Args:
        scores: (n, h, w) in [0, 1]; their background has the height `threshold`.
        logits: (1 + n, h, w), the head's for background and these classes.

    Returns:
        (n, h, w) float32 in [0, 1], whose background has the height `LEVEL`.
    """
    height = max(threshold, _LEAST)
    odds = weight * (logits[1:] - logits[:1]).float() + SHARPNESS * (scores / height).clamp(min=_LEAST).log()
    return odds.sigmoid() * (odds - odds.amax(0)).exp()
