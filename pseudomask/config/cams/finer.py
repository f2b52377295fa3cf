"""The settings of Finer-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pseudomask.config.common import option

_finer = partial(option, panel="Finer", of=("finer",))


@dataclass(frozen=True, kw_only=True)
class FinerOptions:
    """Finer-CAM (Zhang et al., CVPR 2025): what a class shares with its look-alikes is subtracted."""

    finer_weight: float = _finer(0.6, "Weight of the look-alikes' mean map, which is subtracted.", min=0.0)
    finer_classes: int = _finer(
        3, "Number of look-alikes: the classes whose weights are most similar by cosine.", min=1
    )
    finer_alike: tuple[str, ...] = _finer(
        (),
        "Pairs of look-alikes to use instead, such as cat:dog,cow:horse; a class in no pair keeps its plain map.",
        metavar="A:B,...",
    )
