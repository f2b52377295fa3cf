"""The page of an evaluation: `evaluate --html`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pseudomask.config import EvaluateConfig
from pseudomask.data.reading import Reading
from pseudomask.measuring.reports import Report
from pseudomask.reporting import plots
from pseudomask.reporting.folder import PageFolder
from pseudomask.reporting.page import Page, percent, record_lines
from pseudomask.reporting.panels import Folders, Panel, signs_of, worst_first
from pseudomask.reporting.thumbs import Maker
from pseudomask.reporting.writer import Written, write_page
from pseudomask.running.reporter import Reporter


def write_evaluated(
    path: Path, config: EvaluateConfig, report: Report, made: PageFolder, reporter: Reporter, *, workers: int
) -> Written:
    """Write the page of `report`, the result of `evaluate(config)`; see `write_page`."""
    assert report.evidence is not None
    page = evaluated_page(config, report, made)
    counter = report.evidence.counter
    maker = Maker(
        page.folders,
        read_mask=partial(counter.mask, threshold=report.protocol.threshold),
        read_truth=counter.truth,
        from_scores=counter.thresholds is not None,
        reading=Reading.recorded(made.config),
    )
    with reporter.progress(None, "thumbnails") as progress:
        return write_page(
            path, page, maker, budget=int(config.html_size * 1e6), workers=workers, advance=lambda: progress.advance(1)
        )


def evaluated_page(config: EvaluateConfig, report: Report, made: PageFolder) -> Page:
    """The page of a report."""
    by_scores = report.evidence is not None and report.evidence.counter.thresholds is not None
    names = tuple(row.name for row in report.classes)
    protocol = report.protocol
    facts = [
        ("pixels right", f"{percent(report.pixel_accuracy)} %"),
        ("images", f"{protocol.images:,}"),
        ("threshold", "as in the masks" if protocol.threshold is None else f"{protocol.threshold:g}"),
    ]
    failures = made.failures()
    if failures:
        facts.append(("without a mask", f"{len(failures):,}"))
    notes = []
    if by_scores and (made.refined_by or made.threshold != protocol.threshold):
        notes.append(
            f"Masks are the scores at threshold {protocol.threshold:g}; linked mask files may use another threshold."
        )
    return Page(
        title=f"{config.pred} against {config.gt}",
        hero=(f"mean IoU {report.over()} (in per cent)", percent(report.mean_iou)),
        warnings=[doubt.text for doubt in report.doubts],
        facts=facts,
        protocol=protocol.lines(),
        record=record_lines(made.facts),
        config=made.settings(),
        with_truth=True,
        classes=[row for row in report.classes if not math.isnan(row.iou)],
        curve=plots.curve(report.curve, protocol.threshold) if len(report.curve) > 1 else "",
        confusion=plots.confusion(names, report.confusion) if report.confusion.any() else "",
        swaps=[(swap.truth, swap.predicted, swap.share) for swap in report.swaps()],
        failures=failures,
        names=names,
        panels=worst_first(_panels(config, report, made, names, by_scores), by_iou=True),
        folders=Folders(
            photo=made.photos_folder,
            scores=made.scores if made.scored else config.pred if by_scores else None,
            mask=made.path,
            truth=config.gt,
        ),
        notes=notes,
    )  # fmt: skip


def _panels(
    config: EvaluateConfig, report: Report, made: PageFolder, names: Sequence[str], by_scores: bool
) -> list[Panel]:
    assert report.evidence is not None
    index_of = {name: index for index, name in enumerate(names)}
    out = []
    for row, parts, pair in zip(report.images, report.parts, report.evidence.pairs, strict=True):
        panel = Panel(
            key=row.key,
            classes=parts.classes,
            ious=parts.ious,
            iou=None if math.isnan(row.iou) else row.iou,
            signs=signs_of(made.entries.get(row.key, {}), index_of),
            photo=made.photo(row.key),
            scores=made.score_file(row.key),
            truth=_below(config.gt, pair.truth),
        )
        if not by_scores:
            out.append(replace(panel, mask=_below(made.path, pair.prediction)))
            continue
        scores = panel.scores or _below(config.pred, pair.prediction)
        mask = f"{row.key}.png" if (made.path / f"{row.key}.png").is_file() else None
        out.append(replace(panel, scores=scores, mask=mask))
    return out


def _below(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
