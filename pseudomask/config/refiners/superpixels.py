"""The settings of superpixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pseudomask.config.common import option
from pseudomask.config.refiners.regions import RegionOptions

_superpixels = partial(option, panel="Regions", of=("superpixels",))


@dataclass(frozen=True, kw_only=True)
class SuperpixelsOptions(RegionOptions):
    """Superpixels by watershed, merged where their colours are alike."""

    superpixel_size: int = _superpixels(8, "Distance of the superpixels' seeds, in pixels.", min=2, max=1024)
    superpixel_scale: tuple[int, ...] = _superpixels(
        (300, 1000, 3000, 10000),
        "How readily superpixels merge; larger values give larger regions, several values a mean over them, 0 none.",
        min=0,
    )
