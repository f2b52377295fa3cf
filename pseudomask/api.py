"""The verbs as plain functions, with their settings and results, for use without the command line.

    from pathlib import Path
    import pseudomask

    pseudomask.extract(pseudomask.ExtractConfig(images=Path("photos"), out=Path("masks")))

This module lists the names for editors and type checkers. At run time, `pseudomask` looks them up in the table of
verbs on first use and imports no more than the verb needs.
"""

from __future__ import annotations

from pseudomask.chain.outcome import RunResult as RunResult
from pseudomask.chain.run import run as run
from pseudomask.checking.check import check as check
from pseudomask.checking.result import CheckResult as CheckResult
from pseudomask.checkup import DoctorResult as DoctorResult
from pseudomask.checkup import doctor as doctor
from pseudomask.cli.notebook import NotebookReporter as NotebookReporter
from pseudomask.config import CalibrateConfig as CalibrateConfig
from pseudomask.config import CheckConfig as CheckConfig
from pseudomask.config import DoctorConfig as DoctorConfig
from pseudomask.config import EvaluateConfig as EvaluateConfig
from pseudomask.config import ExportConfig as ExportConfig
from pseudomask.config import ExportModelConfig as ExportModelConfig
from pseudomask.config import ExtractConfig as ExtractConfig
from pseudomask.config import ImportConfig as ImportConfig
from pseudomask.config import PredictConfig as PredictConfig
from pseudomask.config import PrototypesConfig as PrototypesConfig
from pseudomask.config import ReactivateConfig as ReactivateConfig
from pseudomask.config import RefineConfig as RefineConfig
from pseudomask.config import ReportConfig as ReportConfig
from pseudomask.config import ReviewConfig as ReviewConfig
from pseudomask.config import RunConfig as RunConfig
from pseudomask.config import TrainAffinityConfig as TrainAffinityConfig
from pseudomask.config import TrainClsConfig as TrainClsConfig
from pseudomask.config import TrainSegConfig as TrainSegConfig
from pseudomask.config import WeightsConfig as WeightsConfig
from pseudomask.evaluation import EvaluateResult as EvaluateResult
from pseudomask.evaluation import evaluate as evaluate
from pseudomask.exporting.export import export as export
from pseudomask.exporting.result import ExportResult as ExportResult
from pseudomask.extracting.result import ExtractResult as ExtractResult
from pseudomask.extraction import extract as extract
from pseudomask.importing import ImportResult as ImportResult
from pseudomask.importing import import_ as import_
from pseudomask.inventory import WeightsResult as WeightsResult
from pseudomask.inventory import weights as weights
from pseudomask.prediction import Prediction as Prediction
from pseudomask.predictor import Predictor as Predictor
from pseudomask.prototyping import PrototypesResult as PrototypesResult
from pseudomask.prototyping import prototypes as prototypes
from pseudomask.refining.refine import RefineResult as RefineResult
from pseudomask.refining.refine import refine as refine
from pseudomask.reporting.report import ReportResult as ReportResult
from pseudomask.reporting.report import report as report
from pseudomask.reviewing.review import ReviewResult as ReviewResult
from pseudomask.reviewing.review import review as review
from pseudomask.segmenting.onnx_file import ExportModelResult as ExportModelResult
from pseudomask.segmenting.onnx_file import export_model as export_model
from pseudomask.segmenting.predict import PredictResult as PredictResult
from pseudomask.segmenting.predict import predict as predict
from pseudomask.segmenting.train import train_seg as train_seg
from pseudomask.training.calibrate import calibrate as calibrate
from pseudomask.training.reactivate import reactivate as reactivate
from pseudomask.training.result import TrainingResult as TrainingResult
from pseudomask.training.train_affinity import train_affinity as train_affinity
from pseudomask.training.train_cls import train_cls as train_cls
