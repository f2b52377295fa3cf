"""The settings of CPMC: one frozen object, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_args

from pseudomask.config import (
    CalibTarget,
    CpmcAffinity,
    CpmcCalibration,
    CpmcFeatures,
    CpmcOptions,
    CpmcOutput,
    CpmcRefine,
    CpmcWeights,
    ExtractConfig,
)
from pseudomask.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CpmcSettings:
    """Each field is the flag of `extract` that `FLAGS` names, with its default (docs/methods-cpmc.md).

    Attributes:
        weights: which classifier's map is S0.
        refine, iterations, power, affinity: S1; `both` is `iterations` times `propagate`, then one `reassign`.
        features: H, the features that prototypes are made from and compared with.
        background, contrast: S2, the seeds' background weight and the share of the background's cosine
            (in S4: of the rival prototype's) that is subtracted.
        target, high, low: S3.
        complete, suppress, calibration: S5: κ, λ and the formula.
        gamma, output: S6.

    Raises `UsageError`, naming the flag, for invalid values.
    """

    weights: CpmcWeights = ExtractConfig.cpmc_weights
    refine: CpmcRefine = ExtractConfig.cpmc_refine
    iterations: int = ExtractConfig.cpmc_iterations
    power: float = ExtractConfig.cpmc_power
    affinity: CpmcAffinity = ExtractConfig.cpmc_affinity
    features: CpmcFeatures = ExtractConfig.cpmc_features
    background: float = ExtractConfig.cpmc_background
    contrast: float = ExtractConfig.cpmc_contrast
    target: CalibTarget = ExtractConfig.calib_target
    high: float = ExtractConfig.cpmc_high
    low: float = ExtractConfig.cpmc_low
    complete: float = ExtractConfig.cpmc_kappa
    suppress: float = ExtractConfig.cpmc_lambda
    calibration: CpmcCalibration = ExtractConfig.cpmc_calibration
    gamma: float = ExtractConfig.cpmc_gamma
    output: CpmcOutput = ExtractConfig.cpmc_output

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(f"{flag(name)} {value!r} is unknown; there are {', '.join(choices)}")
        if isinstance(self.iterations, bool) or not isinstance(self.iterations, int) or self.iterations < 0:
            raise UsageError(f"{flag('iterations')} {self.iterations}: a whole number of at least 0")
        for name in ("background", "contrast", "complete", "suppress", "gamma"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{flag(name)} {getattr(self, name)}: a number of at least 0")
        if not 0 < self.power < float("inf"):
            raise UsageError(f"{flag('power')} {self.power}: a number above 0")
        for name in ("high", "low"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{flag(name)} {getattr(self, name)}: a number from 0 to 1")
        if self.low > self.high:
            raise UsageError(f"{flag('low')} {self.low} is above {flag('high')} {self.high}; it must not be")

    @classmethod
    def of(cls, config: CpmcOptions) -> CpmcSettings:
        """The settings given by a config's flags; those without a flag keep their default."""
        return cls(**{name: getattr(config, field) for name, field in FIELDS.items() if hasattr(config, field)})


FIELDS: dict[str, str] = {
    field.name: {
        "target": "calib_target",
        "complete": "cpmc_kappa",
        "suppress": "cpmc_lambda",
    }.get(field.name, f"cpmc_{field.name}")
    for field in fields(CpmcSettings)
}
"""The field of `ExtractConfig` behind each setting."""

_CHOICES: dict[str, tuple[Any, ...]] = {
    "weights": get_args(CpmcWeights),
    "refine": get_args(CpmcRefine),
    "affinity": get_args(CpmcAffinity),
    "features": get_args(CpmcFeatures),
    "target": get_args(CalibTarget),
    "calibration": get_args(CpmcCalibration),
    "output": get_args(CpmcOutput),
}


def flag(name: str) -> str:
    """The command-line flag for a setting."""
    return "--" + FIELDS[name].replace("_", "-")
