"""The settings of the dense CRF."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

from pseudomask.config.common import option

CrfEngine = Literal["auto", "torch", "pydensecrf"]
CrfPreset = Literal["irn", "deeplab"]
"""Published kernel settings; `refining.crf.PRESETS` has the values."""
CrfUnary = Literal["hard", "soft"]
"""What the CRF starts from: the mask at the threshold, or the scores themselves."""

_crf = partial(option, panel="CRF", of=("crf",))


@dataclass(frozen=True, kw_only=True)
class CrfOptions:
    """Settings of the dense CRF; None takes the preset's value."""

    engine: CrfEngine = _crf(
        "auto",
        "CRF implementation: torch (built in), pydensecrf (extra [crf], Python below 3.13), or auto: the faster one.",
    )
    crf_preset: CrfPreset = _crf("irn", "Kernel settings of IRN and ReCAM (3/3, 50/5/10), or of DeepLab (1/3, 67/3/4).")
    crf_unary: CrfUnary = _crf("hard", "Start the CRF from the thresholded mask (hard) or from the scores (soft).")
    crf_gt_prob: float | None = _crf(
        None,
        "Confidence in the CRF's input, between 0.5 and 1; by default 0.9, or 0.7 with hard and deeplab.",
    )
    crf_iterations: int = _crf(10, "Mean-field iterations of the CRF; 0 disables it.", min=0)
    crf_side: int = _crf(
        1024, "Downscale larger photos for the CRF, by a whole factor, so that the long side is at most this.", min=16
    )
    crf_gauss_xy: float | None = _crf(None, "Standard deviation of the smoothness kernel, in photo pixels.")
    crf_gauss_weight: float | None = _crf(None, "Weight of the smoothness kernel; 0 disables it.", min=0.0)
    crf_bilateral_xy: float | None = _crf(
        None, "Standard deviation of the appearance kernel in space, in photo pixels."
    )
    crf_bilateral_rgb: float | None = _crf(
        None, "Standard deviation of the appearance kernel in colour, on a scale of 0 to 255."
    )
    crf_bilateral_weight: float | None = _crf(None, "Weight of the appearance kernel; 0 disables it.", min=0.0)


Options = TypeVar("Options", bound=CrfOptions)


def with_confidence(options: Options) -> Options:
    """`options` with the usual confidence filled in, so that a run's record has the number (docs/refinement-crf.md)."""
    if options.crf_gt_prob is not None:
        return options
    return replace(options, crf_gt_prob=0.7 if (options.crf_preset, options.crf_unary) == ("deeplab", "hard") else 0.9)
