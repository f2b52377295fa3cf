"""Combine scores with class evidence from a boundary head. Our own method; measured in docs/refinement-walk.md.

A photo's seeds mark the most distinctive parts of its classes. The head, trained on the confident seeds of many photos,
has learned how each class and the background look in general, and is often right where one photo's seeds are wrong.
"""

from __future__ import annotations

from torch import Tensor

LEVEL = 0.4
"""Background threshold of the scores that `joined` returns, after the walk. Before it, that is ½."""
POWER = 2.0
"""Exponent of the walk's power mean over such scores; LEVEL and POWER were chosen on train photos."""
SHARPNESS = 2.0
"""Weight of a seed's log score against the head's logits: doubling a score adds SHARPNESS · log 2 to its logit."""
_LEAST = 1e-3


def joined(scores: Tensor, logits: Tensor, threshold: float, weight: float = 1.0) -> Tensor:
    """Probability of each class against background, from the summed log odds of head and scores.

    The head's log odds are the class logit minus the background logit, times `weight`; the scores' are
    2·log(score / threshold). Classes compete: a weaker class's probability is multiplied by its odds relative to the
    strongest.

    Args:
        scores: (n, h, w) in [0, 1], with background threshold `threshold`.
        logits: (1 + n, h, w), the head's logits for background and these classes.

    Returns:
        (n, h, w) float32 in [0, 1], with background threshold ½.
    """
    height = max(threshold, _LEAST)
    odds = weight * (logits[1:] - logits[:1]).float() + SHARPNESS * (scores / height).clamp(min=_LEAST).log()
    return odds.sigmoid() * (odds - odds.amax(0)).exp()
