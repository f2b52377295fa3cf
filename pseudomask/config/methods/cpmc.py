"""The settings of CPMC (docs/methods-cpmc.md)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from pseudomask.config.common import option

WeightRule = Literal["product", "first", "second", "sum"]
"""Which classifier's weights make the map: w ⊙ w″ (the paper's VOC rule), w (its COCO rule), w″, w + w″."""
CpmcWeights = Literal["auto", WeightRule]
CpmcRefine = Literal["propagate", "reassign", "both", "none"]
CpmcFeatures = Literal["auto", "last", "hierarchical", "heads", "layer4"]
"""`layer4` is what `last` was called at first."""
CalibTarget = Literal["prototype", "classifier", "argmax"]
CpmcCalibration = Literal["soft", "hard"]
CpmcOutput = Literal["calibrated", "refined"]

_cpmc = partial(option, panel="CPMC", of=("cpmc",))


@dataclass(frozen=True, kw_only=True)
class CpmcOptions:
    """The steps of CPMC that extraction and training share (docs/methods-cpmc.md)."""

    cpmc_weights: CpmcWeights = _cpmc(
        "auto", "Which classifier's map is calibrated; auto: recam's, or w where the weights have no second classifier."
    )
    cpmc_refine: CpmcRefine = _cpmc(
        "propagate", "How the classifier's map is refined by context; both: propagate, then reassign once."
    )
    cpmc_iterations: int = _cpmc(4, "How often it is refined; 0 is not at all.", min=0)
    cpmc_power: float = _cpmc(4.0, "Exponent of the features' similarity in propagate.")
    cpmc_background: float = _cpmc(0.5, "Weight of the background in the seeds that prototypes are made from.", min=0.0)
    cpmc_contrast: float = _cpmc(
        0.9, "Share of the background prototype's similarity that a class must exceed.", min=0.0
    )
    calib_target: CalibTarget = _cpmc(
        "prototype",
        "Which map is held to be wrong where the two disagree; argmax: the prototype's, by classes, not thresholds.",
    )
    cpmc_high: float = _cpmc(0.6, "A map says yes from here on, where maps disagree.", min=0.0, max=1.0)
    cpmc_low: float = _cpmc(0.5, "And no below this.", min=0.0, max=1.0)
    cpmc_kappa: float = _cpmc(0.0, "κ: weight of the parts found missing; 0 adds none.", min=0.0)
    cpmc_lambda: float = _cpmc(0.0, "λ: weight of the noise found; 0 takes none away.", min=0.0)
    cpmc_calibration: CpmcCalibration = _cpmc("soft", "Subtract the noise, or cut out where it exceeds the class.")


@dataclass(frozen=True, kw_only=True)
class CpmcMapOptions(CpmcOptions):
    """Those and what training has no use for."""

    cpmc_features: CpmcFeatures = _cpmc(
        "auto",
        "What prototypes are made of: calibrate's heads, all stages of the backbone, or the last (once called layer4); "
        "auto: the heads where the weights carry them, else all stages.",
    )
    cpmc_gamma: float = _cpmc(0.0, "γ: weight of the classifier's refined map beside the calibrated one.", min=0.0)
    cpmc_output: CpmcOutput = _cpmc("calibrated", "The result, or the classifier's refined map alone (no prototypes).")
