"""From photos and image-level tags to pixel masks.

`import pseudomask` is light: torch is imported when a verb is first used.

    import pseudomask
    from pathlib import Path

    config = pseudomask.ExtractConfig(images=Path("photos"), out=Path("masks"))
    result = pseudomask.extract(config)
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"]:  # Python says so while it looks for the module that it was told to run
    from pseudomask._safe_path import leave_current_folder

    leave_current_folder()

from typing import TYPE_CHECKING, Any

from pseudomask._version import __version__
from pseudomask.config import (
    CalibrateConfig,
    DoctorConfig,
    EvaluateConfig,
    ExportConfig,
    ExtractConfig,
    ReactivateConfig,
    RefineConfig,
    ReportConfig,
    RunConfig,
    TrainAffinityConfig,
    TrainClsConfig,
)
from pseudomask.errors import PseudomaskError

if TYPE_CHECKING:
    from pseudomask.api import (
        calibrate,
        doctor,
        evaluate,
        export,
        extract,
        reactivate,
        refine,
        report,
        run,
        train_affinity,
        train_cls,
    )

__all__ = [
    "CalibrateConfig",
    "DoctorConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ExtractConfig",
    "PseudomaskError",
    "ReactivateConfig",
    "RefineConfig",
    "ReportConfig",
    "RunConfig",
    "TrainAffinityConfig",
    "TrainClsConfig",
    "__version__",
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


def __getattr__(name: str) -> Any:
    """The verbs, imported when first asked for."""
    if name in __all__:
        from pseudomask import api

        return getattr(api, name)
    raise AttributeError(f"module 'pseudomask' has no attribute {name!r}")
