"""The kinds of class map (`--cam`): what makes one is a file in `pseudomask.maps.cams`, its settings a file here.

A new one is those two files, a line in `CAMS` there and, if it has settings, one in the bases of `CamOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pseudomask.config.cams.advcam import AdvCamOptions
from pseudomask.config.cams.finer import FinerOptions
from pseudomask.config.cams.layercam import LayerCamOptions
from pseudomask.config.cams.lpcam import LpcamOptions
from pseudomask.config.common import option


@dataclass(frozen=True, kw_only=True)
class TrainingCamOptions(FinerOptions):
    """The kinds of class map that training can use, and their settings."""

    cam: str = option(
        "plain",
        "Kind of class map: plain, softmax, finer, layercam, gradcampp or ablation (docs/cam-variants.md).",
        "Method",
    )


@dataclass(frozen=True, kw_only=True)
class CamOptions(LpcamOptions, LayerCamOptions, FinerOptions, AdvCamOptions):
    """All kinds of class map, and their settings."""

    cam: str | None = option(
        None,
        "Kind of class map, for every --method: plain, softmax, finer, layercam, gradcampp, ablation, lpcam or advcam "
        "(docs/cam-variants.md); by default that of --quality if it chooses the method too, else plain.",
        "Method",
        before="plain",
    )
