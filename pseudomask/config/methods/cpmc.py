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
CpmcAffinity = Literal["auto", "features"]
CpmcFeatures = Literal["auto", "last", "hierarchical", "heads", "layer4"]
"""`layer4` is the former name of `last`."""
CalibTarget = Literal["prototype", "classifier", "argmax"]
CpmcCalibration = Literal["soft", "hard"]
CpmcOutput = Literal["calibrated", "refined"]

_cpmc = partial(option, panel="CPMC", of=("cpmc",))


@dataclass(frozen=True, kw_only=True)
class CpmcOptions:
    """The steps of CPMC that extraction and training share (docs/methods-cpmc.md)."""

    cpmc_weights: CpmcWeights = _cpmc(
        "auto",
        "Classifier weights of the map to calibrate; auto: those of recam, or w (first) without a second classifier.",
    )
    cpmc_refine: CpmcRefine = _cpmc(
        "propagate", "How context refines the classifier's map; both: propagate, then reassign once."
    )
    cpmc_iterations: int = _cpmc(4, "Rounds of context refinement; 0 disables it.", min=0)
    cpmc_power: float = _cpmc(4.0, "Exponent of the feature similarity in propagate.")
    cpmc_affinity: CpmcAffinity = _cpmc(
        "auto",
        "What tells propagate which positions belong together: the features, or by auto the attention of a "
        "transformer's last blocks if the backbone has it.",
    )
    cpmc_background: float = _cpmc(0.5, "Weight of the background in the seeds of the prototypes.", min=0.0)
    cpmc_contrast: float = _cpmc(
        0.9, "A class must exceed this fraction of the background prototype's similarity.", min=0.0
    )
    calib_target: CalibTarget = _cpmc(
        "prototype",
        "Map to correct where the two maps disagree; argmax: the prototype map, compared by class, not by threshold.",
    )
    cpmc_high: float = _cpmc(
        0.6, "Scores at or above this count as positive where the maps are compared.", min=0.0, max=1.0
    )
    cpmc_low: float = _cpmc(0.5, "Scores below this count as negative where the maps are compared.", min=0.0, max=1.0)
    cpmc_kappa: float = _cpmc(0.0, "κ: weight of the missing parts that are added; 0 disables it.", min=0.0)
    cpmc_lambda: float = _cpmc(0.0, "λ: weight of the noise that is removed; 0 disables it.", min=0.0)
    cpmc_calibration: CpmcCalibration = _cpmc(
        "soft", "soft: subtract the noise; hard: zero the score where the noise exceeds it."
    )


@dataclass(frozen=True, kw_only=True)
class CpmcMapOptions(CpmcOptions):
    """Those and what training has no use for."""

    cpmc_features: CpmcFeatures = _cpmc(
        "auto",
        "Features of the prototypes: calibrate's heads, all backbone stages (hierarchical), or the last stage (last; "
        "layer4 is its old name); auto: the heads if the weights have them, else all stages.",
    )
    cpmc_gamma: float = _cpmc(0.0, "γ: weight of the classifier's refined map, added to the calibrated map.", min=0.0)
    cpmc_output: CpmcOutput = _cpmc(
        "calibrated", "Map to write: the calibrated map, or the classifier's refined map (no prototypes)."
    )
