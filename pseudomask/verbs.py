"""The table of verbs, from which the command line, Python API, chains, completion and manual page are built.

To add a verb, add a row here, its settings in `pseudomask.config`, its function, and its name in `api`. The table
imports nothing heavy: a verb's function is imported only when called, so that `--help` is fast and `evaluate` runs
without torch.
"""

from __future__ import annotations

import importlib
import keyword
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pseudomask.config import (
    CalibrateConfig,
    CheckConfig,
    DoctorConfig,
    EvaluateConfig,
    ExportConfig,
    ExportModelConfig,
    ExtractConfig,
    ImportConfig,
    PredictConfig,
    PrototypesConfig,
    ReactivateConfig,
    RefineConfig,
    ReportConfig,
    ReviewConfig,
    RunConfig,
    TrainAffinityConfig,
    TrainClsConfig,
    TrainSegConfig,
    WeightsConfig,
)
from pseudomask.running.reporter import Reporter

WEIGHTS = "weights.safetensors"
"""Name of the file that a finished training writes to its folder."""

GROUPS = MAKE, LOOK, TRAIN, MACHINE = (
    "Make masks",
    "Inspect, evaluate, export",
    "Train on your own photos",
    "This machine",
)
"""The headings of `pseudomask --help`, in order."""


class Result(Protocol):
    """What a verb's function returns.

    Optional methods: `headline()`, a line shown first; `table()`, a (header, rows) pair shown instead of the
    summary, or None; `notes()`, lines shown last.
    """

    @property
    def exit_code(self) -> int: ...

    def summary(self) -> Sequence[tuple[str, object]]:
        """(label, value) lines for people; a value that reports a problem is a `reporter.Bad`."""

    def to_json(self) -> Any:
        """The result for programs, as JSON-compatible values."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb.

    Attributes:
        config: the data class of its settings.
        function: "module:function", called with the settings and a `Reporter`; returns a `Result`.
        help: one line of help.
        group: its heading in the program's help, one of `GROUPS`.
        shared: whether all processes of a torchrun share the work; if not, rank 0 does everything.
        configurable: whether `--config` can hold its settings.
        stdout: maps (settings, result) to the lines printed on stdout without `--json`.
        next: the usual next command, if the summary does not name it; may contain settings in braces, and
            {weights} for the weights just written; settings that it shares with this verb are added (`carried`).
        varies: how settings other than the defaults change `next` and `method`.

    For the verbs that can be a step of a chain (`pseudomask run`):
        writes: the setting that names its output.
        below: the default of `writes`, relative to the chain's `out`.
        inputs: the settings that take earlier steps' outputs or the data.
        makes: the settings of later steps that take its output, or "masks".
        method: for verbs that train, the extract method that the weights are for.
        aliases: other names for settings in a file.
        several: whether a chain may contain more than one of it.
        own_photos: its photos and tags are never those at the top of the file, which the masks are made from.
    """

    name: str
    config: type
    function: str
    help: str
    group: str
    shared: bool = False
    configurable: bool = True
    stdout: Callable[[Any, Any], Sequence[object]] = lambda config, result: ()
    next: str = ""
    varies: Callable[[Any], Mapping[str, Any]] = lambda config: {}
    writes: str = ""
    below: str = ""
    inputs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    method: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    several: bool = False
    own_photos: bool = False

    def of(self, config: Any) -> Verb:
        """The verb adapted to these settings."""
        return replace(self, **self.varies(config))

    @property
    def identifier(self) -> str:
        """The name of its function in Python."""
        name = self.name.replace("-", "_")
        return f"{name}_" if keyword.iskeyword(name) else name

    @property
    def run(self) -> Callable[[Any, Reporter], Result]:
        """The verb's function, imported on access."""
        module, _, name = self.function.partition(":")
        function: Callable[[Any, Reporter], Result] = getattr(importlib.import_module(module), name)
        return function

    @property
    def trains(self) -> bool:
        """Whether the verb trains a network."""
        return self.writes == "run"

    @property
    def recorded(self) -> bool:
        """Whether its output folder has a record, by which the verb itself finds out what is left to do."""
        return self.writes in ("run", "out")

    @property
    def source(self) -> str | None:
        """The setting that names the output folder it starts from; None if it starts from photos."""
        return next((name for name in ("seeds", "masks", "pred", "out") if name in self.inputs), None)

    def product(self, config: Any) -> Path:
        """The path that it hands to later steps of a chain."""
        made: Path = getattr(config, self.writes)
        return made / WEIGHTS if self.trains else made


def _weights(config: Any, result: Any) -> Sequence[object]:
    return () if result.weights is None else (result.weights,)


def _out(config: Any, result: Any) -> Sequence[object]:
    return () if config.dry_run or getattr(config, "check", False) else (result.out,)


_EXTRACT_NEXT = "extract {images} MASKS --labels {labels} --weights {weights} --method cpmc"
_MASKS = {"masks": "out"}

VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            name="check",
            config=CheckConfig,
            function="pseudomask.checking.check:check",
            help="Say which classes can be learned from photos and tags, before training.",
            group=TRAIN,
        ),
        Verb(
            name="train-cls",
            config=TrainClsConfig,
            function="pseudomask.training.train_cls:train_cls",
            help="Train the multi-label classifier from photos and tags.",
            group=TRAIN,
            shared=True,
            stdout=_weights,
            next="reactivate {images} RUN --labels {labels} --weights {weights}",
            varies=lambda config: {"next": _EXTRACT_NEXT, "method": "recam"} if config.fit == "lda" else {},
            writes="run",
            below="cls",
            inputs=("images",),
            makes=("weights",),
            method="cam",
        ),
        Verb(
            name="reactivate",
            config=ReactivateConfig,
            function="pseudomask.training.reactivate:reactivate",
            help="Train ReCAM's second classifier, starting from train-cls weights.",
            group=TRAIN,
            shared=True,
            stdout=_weights,
            next=_EXTRACT_NEXT,
            writes="run",
            below="recam",
            inputs=("images", "weights"),
            makes=("weights",),
            method="recam",
        ),
        Verb(
            name="calibrate",
            config=CalibrateConfig,
            function="pseudomask.training.calibrate:calibrate",
            help="Train CPMC's heads, starting from train-cls or reactivate weights.",
            group=TRAIN,
            shared=True,
            stdout=_weights,
            next=_EXTRACT_NEXT,
            writes="run",
            below="cpmc",
            inputs=("images", "weights"),
            makes=("weights",),
            method="cpmc",
        ),
        Verb(
            name="prototypes",
            config=PrototypesConfig,
            function="pseudomask.prototyping:prototypes",
            help="Cluster features into the prototypes of extract --cam lpcam.",
            group=TRAIN,
            stdout=lambda config, result: () if result.file is None else (result.file,),
            writes="file",
            below="prototypes.safetensors",
            inputs=("images", "weights"),
            makes=("lpcam_prototypes",),
        ),
        Verb(
            name="import",
            config=ImportConfig,
            function="pseudomask.importing:import_",
            help="Turn a classifier trained elsewhere into weights for extract.",
            group=TRAIN,
            stdout=lambda config, result: (result.out,) if result.written else (),
        ),
        Verb(
            name="extract",
            config=ExtractConfig,
            function="pseudomask.extraction:extract",
            help="Make masks and scores from photos.",
            group=MAKE,
            shared=True,
            stdout=_out,
            writes="out",
            below="seeds",
            inputs=("images", "weights", "lpcam_prototypes"),
            makes=("seeds", "masks"),
        ),
        Verb(
            name="train-affinity",
            config=TrainAffinityConfig,
            function="pseudomask.training.train_affinity:train_affinity",
            help="Train the boundary head of refine --method walk from confident seeds.",
            group=TRAIN,
            shared=True,
            stdout=_weights,
            next="refine {images} {seeds} REFINED --affinity {weights} --method walk,crf",
            writes="run",
            below="affinity",
            inputs=("images", "seeds", "weights"),
            makes=("affinity",),
        ),
        Verb(
            name="refine",
            config=RefineConfig,
            function="pseudomask.refining.refine:refine",
            help="Make masks follow the photos' edges.",
            group=MAKE,
            shared=True,
            stdout=_out,
            writes="out",
            below="refined",
            inputs=("images", "seeds", "affinity"),
            makes=("masks",),
        ),
        Verb(
            name="train-seg",
            config=TrainSegConfig,
            function="pseudomask.segmenting.train:train_seg",
            help="Train a segmentation network on masks.",
            group=TRAIN,
            shared=True,
            stdout=_weights,
            next="predict PHOTOS MASKS --weights {weights}",
            writes="run",
            below="segmenter",
            inputs=("masks",),
            makes=("weights",),
        ),
        Verb(
            name="predict",
            config=PredictConfig,
            function="pseudomask.segmenting.predict:predict",
            help="Segment photos with a network from train-seg; needs no tags.",
            group=MAKE,
            shared=True,
            stdout=_out,
            writes="out",
            below="predicted",
            inputs=("images", "weights"),
            makes=("masks",),
            own_photos=True,
        ),
        Verb(
            name="evaluate",
            config=EvaluateConfig,
            function="pseudomask.evaluation:evaluate",
            help="Compare masks or scores with true masks.",
            group=LOOK,
            writes="json_file",
            below="evaluate.json",
            inputs=("pred", "gt"),
            aliases={"masks": "pred", "truth": "gt"},
            several=True,
        ),
        Verb(
            name="report",
            config=ReportConfig,
            function="pseudomask.reporting.report:report",
            help="Write an HTML page of masks, most doubtful first; needs no true masks.",
            group=LOOK,
            stdout=lambda config, result: (result.page.path,),
            writes="html",
            below="report.html",
            inputs=("out",),
            aliases=_MASKS,
            several=True,
        ),
        Verb(
            name="review",
            config=ReviewConfig,
            function="pseudomask.reviewing.review:review",
            help="Judge masks in your browser; verdicts and new tags are kept in the folder.",
            group=LOOK,
        ),
        Verb(
            name="export",
            config=ExportConfig,
            function="pseudomask.exporting.export:export",
            help="Turn masks into a data set for training frameworks.",
            group=LOOK,
            stdout=lambda config, result: (config.dest,),
            writes="dest",
            below="export",
            inputs=("out",),
            aliases=_MASKS,
            several=True,
        ),
        Verb(
            name="export-model",
            config=ExportModelConfig,
            function="pseudomask.segmenting.onnx_file:export_model",
            help="Write a network from train-seg as an ONNX file.",
            group=LOOK,
            stdout=lambda config, result: () if result.file is None else (result.file,),
        ),
        Verb(
            name="run",
            config=RunConfig,
            function="pseudomask.chain.run:run",
            help="Run a chain of verbs from one file.",
            group=MAKE,
            configurable=False,
            stdout=_out,
        ),
        Verb(
            name="weights",
            config=WeightsConfig,
            function="pseudomask.inventory:weights",
            help="List weights with their classes and licence; search the names of classes.",
            group=MACHINE,
            configurable=False,
        ),
        Verb(
            name="doctor",
            config=DoctorConfig,
            function="pseudomask.checkup:doctor",
            help="Check this machine and try one photo.",
            group=MACHINE,
        ),
    )
}
"""Verbs by name, in the order of a chain."""
