"""The verbs as plain functions: the same work as the command line, without Typer.

from pathlib import Path
import pseudomask

pseudomask.extract(pseudomask.ExtractConfig(images=Path("photos"), out=Path("masks")))
"""

from __future__ import annotations

from pseudomask.chain.run import RunResult, run
from pseudomask.checkup import DoctorResult, doctor
from pseudomask.exporting.export import ExportResult, export
from pseudomask.extracting.extract import ExtractResult, extract
from pseudomask.measuring.from_config import EvaluateResult, evaluate
from pseudomask.refining.refine import RefineResult, refine
from pseudomask.reporting.report import ReportResult, report
from pseudomask.training.calibrate import calibrate
from pseudomask.training.reactivate import reactivate
from pseudomask.training.session import TrainingResult
from pseudomask.training.train_affinity import train_affinity
from pseudomask.training.train_cls import train_cls

__all__ = [
    "DoctorResult",
    "EvaluateResult",
    "ExportResult",
    "ExtractResult",
    "RefineResult",
    "ReportResult",
    "RunResult",
    "TrainingResult",
    "calibrate",
    "doctor",
    "evaluate",
    "export",
    "extract",
    "reactivate",
    "refine",
    "report",
    "run",
    "train_affinity",
    "train_cls",
]
