"""The settings of every verb: each field is one flag, one environment variable and one TOML key.

There is one file per family of verbs and one per refiner or method that has settings. `common` holds what they share;
`settings`, `values` and `sources` read a class's settings and fill them in. Nothing here imports torch, so that
`pseudomask --help` answers at once. The help lists the fields of a class's bases first, from the last base to the
first, and then its own.
"""

from __future__ import annotations

from pseudomask.config.affinity import TrainAffinityConfig as TrainAffinityConfig
from pseudomask.config.calibrate import CalibrateConfig as CalibrateConfig
from pseudomask.config.check import CheckConfig as CheckConfig
from pseudomask.config.common import Amp as Amp
from pseudomask.config.common import LabelOptions as LabelOptions
from pseudomask.config.doctor import DoctorConfig as DoctorConfig
from pseudomask.config.evaluate import EvaluateConfig as EvaluateConfig
from pseudomask.config.export import ExportConfig as ExportConfig
from pseudomask.config.export import ExportFormat as ExportFormat
from pseudomask.config.extract import ExtractConfig as ExtractConfig
from pseudomask.config.extract import MapOptions as MapOptions
from pseudomask.config.extract import Quality as Quality
from pseudomask.config.extract import Tta as Tta
from pseudomask.config.imports import ImportConfig as ImportConfig
from pseudomask.config.inventory import WeightsConfig as WeightsConfig
from pseudomask.config.methods.cpmc import CalibTarget as CalibTarget
from pseudomask.config.methods.cpmc import CpmcAffinity as CpmcAffinity
from pseudomask.config.methods.cpmc import CpmcCalibration as CpmcCalibration
from pseudomask.config.methods.cpmc import CpmcFeatures as CpmcFeatures
from pseudomask.config.methods.cpmc import CpmcOptions as CpmcOptions
from pseudomask.config.methods.cpmc import CpmcOutput as CpmcOutput
from pseudomask.config.methods.cpmc import CpmcRefine as CpmcRefine
from pseudomask.config.methods.cpmc import CpmcWeights as CpmcWeights
from pseudomask.config.methods.cpmc import WeightRule as WeightRule
from pseudomask.config.prototypes import PrototypesConfig as PrototypesConfig
from pseudomask.config.refine import RefineConfig as RefineConfig
from pseudomask.config.refiners.crf import CrfEngine as CrfEngine
from pseudomask.config.refiners.crf import CrfOptions as CrfOptions
from pseudomask.config.refiners.crf import CrfUnary as CrfUnary
from pseudomask.config.refiners.pamr import PamrOptions as PamrOptions
from pseudomask.config.refiners.walk import WalkOptions as WalkOptions
from pseudomask.config.report import ReportConfig as ReportConfig
from pseudomask.config.review import ReviewConfig as ReviewConfig
from pseudomask.config.review import ReviewOptions as ReviewOptions
from pseudomask.config.run import RunConfig as RunConfig
from pseudomask.config.segment import ExportModelConfig as ExportModelConfig
from pseudomask.config.segment import PredictConfig as PredictConfig
from pseudomask.config.segment import TrainSegConfig as TrainSegConfig
from pseudomask.config.training import ReactivateConfig as ReactivateConfig
from pseudomask.config.training import ScheduleOptions as ScheduleOptions
from pseudomask.config.training import SplitOptions as SplitOptions
from pseudomask.config.training import Style as Style
from pseudomask.config.training import TrainClsConfig as TrainClsConfig
from pseudomask.config.training import TrainingOptions as TrainingOptions
