"""The steps of a chain in their order: what each takes from those before it, and what it makes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.config import (
    CalibrateConfig,
    EvaluateConfig,
    ExportConfig,
    ExtractConfig,
    ReactivateConfig,
    RefineConfig,
    ReportConfig,
    TrainAffinityConfig,
    TrainClsConfig,
)
from pseudomask.running.reporter import Reporter

WEIGHTS = "weights.safetensors"
"""What a training leaves in its folder when it is finished."""


@dataclass(frozen=True)
class Kind:
    """One verb as a step.

    Attributes:
        function: the verb's function in Python, imported when it is called: evaluate needs no torch.
        place: the field that names what it writes; `below`: its default below the chain's `out`.
        method: for trainings, the method of extract that their weights are for.
        inputs: fields that hold what earlier steps make, or where the data is.
        aliases: other names of fields in a file.
        several: whether it may stand in a chain more than once.
    """

    verb: str
    config: type
    function: str
    place: str
    below: str
    inputs: tuple[str, ...]
    method: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    several: bool = False

    @property
    def trains(self) -> bool:
        return self.place == "run"

    @property
    def makes_masks(self) -> bool:
        return self.verb in ("extract", "refine")

    @property
    def source(self) -> str | None:
        """The field of the folder that it goes on from, for steps that take no photos as they come."""
        return next((name for name in ("seeds", "pred", "out") if name in self.inputs), None)

    def call(self, config: Any, reporter: Reporter) -> Any:
        """Do the verb; errors are those of its function."""
        module, _, name = self.function.rpartition(".")
        return getattr(importlib.import_module(module), name)(config, reporter)

    def product(self, config: Any) -> Path:
        """What later steps take of it."""
        made: Path = getattr(config, self.place)
        return made / WEIGHTS if self.trains else made


_TRAINING = ("images", "weights")
_MASKS = {"masks": "out"}

KINDS = {
    kind.verb: kind
    for kind in (
        Kind("train-cls", TrainClsConfig, "pseudomask.training.train_cls.train_cls", "run", "cls", ("images",), "cam"),
        Kind(
            "reactivate",
            ReactivateConfig,
            "pseudomask.training.reactivate.reactivate",
            "run",
            "recam",
            _TRAINING,
            "recam",
        ),
        Kind("calibrate", CalibrateConfig, "pseudomask.training.calibrate.calibrate", "run", "cpmc", _TRAINING, "cpmc"),
        Kind("extract", ExtractConfig, "pseudomask.extracting.extract.extract", "out", "seeds", ("images", "weights")),
        Kind(
            "train-affinity",
            TrainAffinityConfig,
            "pseudomask.training.train_affinity.train_affinity",
            "run",
            "affinity",
            ("images", "seeds", "weights"),
        ),
        Kind(
            "refine",
            RefineConfig,
            "pseudomask.refining.refine.refine",
            "out",
            "refined",
            ("images", "seeds", "affinity"),
        ),
        Kind(
            "evaluate",
            EvaluateConfig,
            "pseudomask.measuring.from_config.evaluate",
            "json_file",
            "evaluate.json",
            ("pred", "gt"),
            aliases={"masks": "pred", "truth": "gt"},
            several=True,
        ),
        Kind(
            "report",
            ReportConfig,
            "pseudomask.reporting.report.report",
            "html",
            "report.html",
            ("out",),
            aliases=_MASKS,
            several=True,
        ),
        Kind(
            "export",
            ExportConfig,
            "pseudomask.exporting.export.export",
            "dest",
            "export",
            ("out",),
            aliases=_MASKS,
            several=True,
        ),
    )
}


@dataclass(frozen=True)
class Step:
    """A step with all its settings.

    Attributes:
        label: its verb, and its name where it has one.
        needs: labels of earlier steps whose product it takes.
    """

    kind: Kind
    label: str
    config: Any
    name: str | None = None
    needs: frozenset[str] = frozenset()

    @property
    def place(self) -> Path:
        """The folder or file that it writes."""
        made: Path = getattr(self.config, self.kind.place)
        return made


@dataclass(frozen=True)
class Chain:
    """Steps in their order, and the folder below which they write."""

    file: Path
    out: Path
    steps: tuple[Step, ...]
