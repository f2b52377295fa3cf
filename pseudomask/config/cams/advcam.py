"""The settings of AdvCAM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pseudomask.config.common import option

_advcam = partial(option, panel="AdvCAM", of=("advcam",))


@dataclass(frozen=True, kw_only=True)
class AdvCamOptions:
    """AdvCAM (Lee et al., CVPR 2021); the defaults are those of its public code."""

    advcam_iterations: int = _advcam(
        27, "Maps to add up, each of the photo changed once more; one forward and backward pass per class each.", min=1
    )
    advcam_rate: float = _advcam(
        0.08, "Largest change of a pixel per iteration, in standard deviations of its channel.", min=0.0
    )
    advcam_mask: float = _advcam(
        0.5, "Parts that score above this fraction of the map's maximum must not rise further.", min=0.0, max=1.0
    )
    advcam_penalty: float = _advcam(7.0, "Weight of that constraint; 0 disables it.", min=0.0)
