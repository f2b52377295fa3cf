"""The verb `evaluate`: measure, and write the reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pseudomask.config import EvaluateConfig
from pseudomask.data.labels import read_classes
from pseudomask.data.review import left_out
from pseudomask.errors import UsageError
from pseudomask.measuring.evaluate import evaluate as measure
from pseudomask.measuring.reports import HEADER, Report
from pseudomask.quoting import count
from pseudomask.reporting.evaluated import write_evaluated
from pseudomask.reporting.folder import read_folder
from pseudomask.running.atomic import atomic_text
from pseudomask.running.holder import report_filling
from pseudomask.running.machine import cores
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import FAILED, Entry
from pseudomask.running.reporter import Progress, Reporter, SilentReporter
from pseudomask.running.shown import Shown


@dataclass(frozen=True)
class EvaluateResult(Shown):
    """The report and the files that it was written to."""

    report: Report
    files: tuple[Path, ...] = ()
    exit_code: int = 0

    def summary(self) -> list[tuple[str, str]]:
        return [("result", self.report.headline()), *self.report.protocol.lines()]

    def headline(self) -> str:
        return self.report.headline()

    def table(self) -> tuple[Sequence[str], list[tuple[str, ...]]]:
        """One row per class, plus the means; classes that appear in no mask are listed only in the protocol."""
        return HEADER, [row for row in self.report.rows() if any(cell != "-" for cell in row[1:])]

    def notes(self) -> list[str]:
        """The protocol, which must accompany every result."""
        lines = self.report.protocol.lines()
        width = max(len(label) for label, _ in lines)
        return [f"{label.ljust(width)}  {value}" for label, value in lines]

    def to_json(self) -> dict[str, Any]:
        return self.report.to_json()


def evaluate(config: EvaluateConfig, reporter: Reporter | None = None) -> EvaluateResult:
    """Compare masks, or scores at one or all thresholds, with true masks (see `EvaluateConfig`).

    Raises `UsageError` if nothing matches, if sizes or classes differ, or if settings contradict each other.
    """
    reporter = reporter or SilentReporter()
    if config.sweep and config.threshold is not None:
        raise UsageError("--sweep and --threshold cannot be combined; give one of them")
    thresholds = None if config.threshold is None else [config.threshold]
    workers = cores() if config.workers < 0 else config.workers
    made = read_folder(config.pred, config.images) if config.html is not None else None
    folder = MadeFolder(MadeFolder.around(config.pred))
    report_filling(folder.path, reporter)
    with ExitStack() as stack:
        bars: list[Progress] = []

        def advance(done: int, total: int) -> None:
            if not bars:  # the number of pairs becomes known only here
                bars.append(stack.enter_context(reporter.progress(total, "evaluating")))
            bars[0].advance(1)

        report = measure(
            config.pred,
            config.gt,
            list=config.list,
            classes=[name.strip() for name in config.classes.split(",")] if config.classes else None,
            class_names=read_classes(config.class_file) if config.class_file else None,
            thresholds=thresholds,
            scores=True if config.sweep or thresholds else None,
            missing=config.missing,
            ignore=config.ignore,
            truth_map=config.truth_map,
            truth_palette=config.truth_palette,
            pred_map=config.pred_map,
            pred_palette=config.pred_palette,
            truth_crowds=config.truth_crowds,
            workers=workers,
            by_class=made is not None,
            review=partial(left_out, config, reporter=reporter),
            progress=advance,
        )
    for doubt in report.doubts:
        reporter.warn(doubt.text)
    _report_stale(folder, report, reporter)
    files = _write(config, report)
    if config.html is not None and made is not None:
        page = write_evaluated(config.html, config, report, made, reporter, workers=workers)
        reporter.info(f"page: {page.line()}")
        files += (config.html,)
    return EvaluateResult(report, files)


def _report_stale(folder: MadeFolder, report: Report, reporter: Reporter) -> None:
    """Warn about measured masks that their run marked as failed because their photos changed."""
    entries: Mapping[str, Entry] = {}
    if folder.holds_run():
        with suppress(UsageError):  # another program's manifest
            entries = folder.entries
    measured = report.evidence.pairs if report.evidence is not None else ()
    stale = [pair.key for pair in measured if entries.get(pair.key, {}).get("status") == FAILED]
    if stale:
        reporter.warn(
            f"the result includes {count(len(stale), 'mask')} that the manifest of {folder.path} marks as failed, for "
            f"example because the photo changed (first: {stale[0]}); run the command that made them again"
        )


def _write(config: EvaluateConfig, report: Report) -> tuple[Path, ...]:
    files: list[Path] = []
    if config.json_file is not None:
        atomic_text(config.json_file, json.dumps(report.to_json(), indent=2) + "\n")
        files.append(config.json_file)
    if config.csv is not None:
        images = config.csv.with_name(config.csv.stem + ".images" + config.csv.suffix)
        report.to_csv(config.csv)
        report.images_to_csv(images)
        files += [config.csv, images]
    if config.markdown is not None:
        atomic_text(config.markdown, report.to_markdown())
        files.append(config.markdown)
    return tuple(files)
