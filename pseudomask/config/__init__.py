"""The settings of every verb: each field is one flag, one environment variable and one TOML key.

A file a family of verbs, and `common` for what they share. Nothing here imports torch, so that
`pseudomask --help` answers at once. A field's metadata holds its help text, and `positional` where it
is an argument; `cli.options` turns a class into a command. A class's fields stand in the help in the
order of its bases, the last first, then its own.
"""

from __future__ import annotations

from pseudomask.config.common import Amp, DeviceOptions, LabelFormat, LabelOptions, argument, option
from pseudomask.config.doctor import DoctorConfig
from pseudomask.config.evaluate import EvaluateConfig
from pseudomask.config.export import ExportConfig, ExportFormat
from pseudomask.config.extract import (
    CalibTarget,
    CpmcCalibration,
    CpmcFeatures,
    CpmcOptions,
    CpmcOutput,
    CpmcRefine,
    CpmcWeights,
    ExtractConfig,
    MapOptions,
    Tta,
    WeightRule,
)
from pseudomask.config.refine import (
    CrfEngine,
    CrfOptions,
    CrfPreset,
    CrfUnary,
    PamrOptions,
    RefineConfig,
    WalkOptions,
)
from pseudomask.config.report import PageOptions, ReportConfig
from pseudomask.config.run import RunConfig
from pseudomask.config.training import (
    CalibrateConfig,
    ReactivateConfig,
    ScheduleOptions,
    Style,
    TrainAffinityConfig,
    TrainClsConfig,
    TrainingOptions,
)

__all__ = [
    "Amp",
    "CalibTarget",
    "CalibrateConfig",
    "CpmcCalibration",
    "CpmcFeatures",
    "CpmcOptions",
    "CpmcOutput",
    "CpmcRefine",
    "CpmcWeights",
    "CrfEngine",
    "CrfOptions",
    "CrfPreset",
    "CrfUnary",
    "DeviceOptions",
    "DoctorConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ExportFormat",
    "ExtractConfig",
    "LabelFormat",
    "LabelOptions",
    "MapOptions",
    "PageOptions",
    "PamrOptions",
    "ReactivateConfig",
    "RefineConfig",
    "ReportConfig",
    "RunConfig",
    "ScheduleOptions",
    "Style",
    "TrainAffinityConfig",
    "TrainClsConfig",
    "TrainingOptions",
    "Tta",
    "WalkOptions",
    "WeightRule",
    "argument",
    "option",
]
