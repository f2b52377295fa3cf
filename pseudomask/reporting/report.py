"""The verb `report`: a page of masks without truth, the most doubtful first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudomask.config import ReportConfig
from pseudomask.data.reading import Reading
from pseudomask.errors import UsageError
from pseudomask.measuring.coding_options import BACKGROUND
from pseudomask.reporting.folder import PageFolder, read_folder
from pseudomask.reporting.page import Page, TagRow, record_lines
from pseudomask.reporting.panels import Folders, Panel, indices, signs_of, worst_first
from pseudomask.reporting.thumbs import Maker
from pseudomask.reporting.writer import Written, write_page
from pseudomask.running.holder import report_filling
from pseudomask.running.inputs import report_changed
from pseudomask.running.jsonable import json_object
from pseudomask.running.listing import File, find_files
from pseudomask.running.machine import cores
from pseudomask.running.quality import Coverage
from pseudomask.running.reporter import Bad, Reporter, SilentReporter
from pseudomask.running.shown import Shown


@dataclass(frozen=True)
class ReportResult(Shown):
    """The page, and how many photos failed, or have a tag without a pixel; `photos`: the folder used, if any."""

    page: Written
    failed: int
    doubtful: int
    photos: Path | None
    exit_code: int = 0

    def summary(self) -> list[tuple[str, str]]:
        return [
            ("page", self.page.line()),
            ("images", f"{self.page.images:,}, {self.doubtful:,} with a tag that has no pixel"),
            ("failed", Bad(self.failed) if self.failed else "0"),
            ("photos", "not found: give --images" if self.photos is None else str(self.photos)),
        ]

    def to_json(self) -> dict[str, Any]:
        return json_object({"schema": 1, **self.__dict__})


def report(config: ReportConfig, reporter: Reporter | None = None) -> ReportResult:
    """Write the page of an output folder of extract or refine (see `ReportConfig`).

    Raises `UsageError` if there is no mask or --images is not a folder of images, and `PseudomaskError` if the page
    cannot be written.
    """
    reporter = reporter or SilentReporter()
    path = config.html or config.out / "report.html"
    masks = find_files(config.out, ".png")
    if not masks:
        raise UsageError(f"{config.out}: no mask (.png) found; give an output folder of extract or refine")
    made = read_folder(config.out, config.images)
    report_filling(made.path, reporter)
    report_changed(made.changed_photos(), reporter)
    page = folder_page(made, masks)
    workers = cores() if config.workers < 0 else config.workers
    with reporter.progress(None, "thumbnails") as progress:
        written = write_page(
            path,
            page,
            Maker(page.folders, reading=Reading.recorded(made.config)),
            budget=int(config.html_size * 1e6),
            workers=workers,
            advance=lambda: progress.advance(1),
        )
    doubtful = sum(bool(panel.signs.empty) for panel in page.panels)
    return ReportResult(written, len(page.failures), doubtful, made.photos_folder)


def folder_page(made: PageFolder, masks: Sequence[File]) -> Page:
    """The page of a folder's masks."""
    names = (BACKGROUND, *(made.classes or ()))
    index_of = {name: index for index, name in enumerate(names)}
    panels = worst_first([_panel(file, made, index_of) for file in masks], by_iou=False)
    coverage = Coverage.of(made.entries.values())
    failures = made.failures()
    margins = [panel.signs.margin for panel in panels if panel.signs.margin is not None]
    facts = [
        ("with a tag that has no pixel", f"{sum(bool(panel.signs.empty) for panel in panels):,}"),
        ("without background", f"{coverage.full:,}"),
    ]
    if margins:
        facts.append(("mean margin", f"{sum(margins) / len(margins):.2f}"))
    if unrefined := sum(panel.signs.unrefined for panel in panels):
        facts.append(("not refined", f"{unrefined:,}"))
    facts.append(("without a mask", f"{len(failures):,}"))
    return Page(
        title=str(made.path),
        hero=("masks", f"{len(panels):,}"),
        facts=facts,
        record=record_lines(made.facts),
        config=made.settings(),
        classes=_tag_rows(coverage),
        notes=[doubt.text for doubt in coverage.doubts(made.at_chance, "listed below")],
        failures=failures,
        names=names,
        panels=panels,
        folders=Folders(
            photo=made.photos_folder, scores=made.scores if made.scored else None, mask=made.path, truth=None
        ),
    )


def _panel(file: File, made: PageFolder, index: Mapping[str, int]) -> Panel:
    entry = made.entries.get(file.key, {})
    return Panel(
        key=file.key,
        classes=tuple(sorted(indices(entry.get("classes"), index))),
        signs=signs_of(entry, index),
        photo=made.photo(file.key),
        scores=made.score_file(file.key),
        mask=file.relative,
    )


def _tag_rows(coverage: Coverage) -> list[TagRow]:
    """How often each class is tagged, its mean area, and how often it misses or fills the photo; the worst first."""
    found = sorted(coverage.classes.items(), key=lambda one: (-one[1].spoiled, one[0]))
    return [TagRow(name, one.tagged, one.area / one.tagged, one.empty, one.filled) for name, one in found]
