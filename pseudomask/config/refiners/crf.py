"""The settings of the dense CRF."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

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
        "What computes the CRF: our torch code, pydensecrf (extra [crf], Python below 3.13), or the faster of them.",
    )
    crf_preset: CrfPreset = _crf(
        "irn", "Kernels as IRN and ReCAM have them (3/3, 50/5/10), or as DeepLab has them (1/3, 67/3/4)."
    )
    crf_unary: CrfUnary = _crf("hard", "Start from the mask at the threshold, or softly from the scores.")
    crf_gt_prob: float | None = _crf(
        None, "Trust in what it starts from, between 0.5 and 1; by default 0.7 (hard) or 0.9 (soft)."
    )
    crf_iterations: int = _crf(10, "Mean-field steps; 0 leaves what it starts from.", min=0)
    crf_side: int = _crf(
        1024, "Larger photos are reduced by a whole number, so that their long side is at most this.", min=16
    )
    crf_gauss_xy: float | None = _crf(None, "Reach of the smoothness kernel, in pixels of the photo.")
    crf_gauss_weight: float | None = _crf(None, "Its weight; 0 leaves it out.", min=0.0)
    crf_bilateral_xy: float | None = _crf(None, "Reach of the appearance kernel, in pixels of the photo.")
    crf_bilateral_rgb: float | None = _crf(None, "Its reach in colour, of 255.")
    crf_bilateral_weight: float | None = _crf(None, "Its weight; 0 leaves it out.", min=0.0)
