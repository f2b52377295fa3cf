"""The verb `report`: a page of masks without truth, the most doubtful first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudomask.config import ReportConfig
from pseudomask.data.reading import Reading
from pseudomask.errors import UsageError
from pseudomask.measuring.pairing import File, find_files
from pseudomask.reporting.folder import Made, class_names, read_folder
from pseudomask.reporting.page import ClassLine, Page, record_lines
from pseudomask.reporting.panels import Panel, Places, indices, signs_of, worst_first
from pseudomask.reporting.thumbs import Maker
from pseudomask.reporting.writer import Written, write_page
from pseudomask.running.holder import tell_filling
from pseudomask.running.inputs import tell_changed
from pseudomask.running.jsonable import jsonable
from pseudomask.running.machine import cores
from pseudomask.running.manifest import Entry
from pseudomask.running.reporter import Bad, Reporter, SilentReporter


@dataclass(frozen=True)
class ReportResult:
    """What `report` wrote: the page, and how many images it shows, have failed, or have a tag without a pixel."""

    page: Written
    failed: int
    doubtful: int
    photos: Path | None
    exit_code: int = 0

    def summary(self) -> list[tuple[str, str]]:
        return [
            ("page", self.page.line()),
            ("images", f"{self.page.images}, {self.doubtful} with a tag that has no pixel"),
            ("failed", Bad(self.failed) if self.failed else "0"),
            ("photos", "not found: give --images" if self.photos is None else str(self.photos)),
        ]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable({"schema": 1, **self.__dict__})
        return plain


def report(config: ReportConfig, reporter: Reporter | None = None) -> ReportResult:
    """Write the page of a folder that extract or refine wrote (see `ReportConfig`).

    Raises `UsageError` where there is no mask or --images is no folder of images, `PseudomaskError` where the page
    cannot be written.
    """
    reporter = reporter or SilentReporter()
    path = config.html or config.out / "report.html"
    masks = find_files(config.out, ".png")
    if not masks:
        raise UsageError(f"{config.out}: no mask (.png) found; give an output folder of extract or refine")
    made = read_folder(config.out, config.images)
    tell_filling(made.out, reporter)
    tell_changed(made.changed(), reporter)
    page = folder_page(made, masks)
    workers = cores() if config.workers < 0 else config.workers
    with reporter.progress(None, "thumbnails") as progress:
        written = write_page(
            path,
            page,
            Maker(page.places, reading=Reading.recorded(made.record.get("config"))),
            budget=int(config.html_size * 1e6),
            workers=workers,
            told=lambda: progress.advance(1),
        )
    doubtful = sum(bool(panel.signs.empty) for panel in page.panels)
    return ReportResult(written, len(page.failures), doubtful, made.images)


def folder_page(made: Made, masks: Sequence[File]) -> Page:
    """The page of a folder's masks."""
    names = class_names(made.record)
    index = {name: place for place, name in enumerate(names)}
    panels = worst_first([_panel(file, made, index) for file in masks], by_iou=False)
    failures = made.failures()
    margins = [panel.signs.margin for panel in panels if panel.signs.margin is not None]
    facts = [("with a tag that has no pixel", f"{sum(bool(panel.signs.empty) for panel in panels):,}")]
    if margins:
        facts.append(("mean margin", f"{sum(margins) / len(margins):.2f}"))
    facts.append(("without a mask", f"{len(failures):,}"))
    return Page(
        title=str(made.out),
        hero=("masks", f"{len(panels):,}"),
        facts=facts,
        record=record_lines(made.record),
        config=made.config(),
        classes=_class_lines(names, made.entries),
        failures=failures,
        names=names,
        panels=panels,
        places=Places(
            photo=made.images, scores=made.out / "scores" if made.scores else None, mask=made.out, truth=None
        ),
    )


def _panel(file: File, made: Made, index: Mapping[str, int]) -> Panel:
    entry = made.entries.get(file.key, {})
    return Panel(
        key=file.key,
        classes=tuple(sorted(indices(entry.get("classes"), index))),
        signs=signs_of(entry, index),
        photo=made.photo(file.key),
        scores=made.score_file(file.key),
        mask=file.relative,
    )


def _class_lines(names: Sequence[str], entries: Mapping[str, Entry]) -> list[ClassLine]:
    """How often each class is tagged, how large it is there, how often it has no pixel; untagged ones are left out."""
    tagged, empty, area = [0] * len(names), [0] * len(names), [0.0] * len(names)
    index = {name: place for place, name in enumerate(names)}
    for entry in entries.values():
        shares = entry.get("area")
        for place in indices(entry.get("classes"), index):
            tagged[place] += 1
            share = shares.get(names[place], 0) if isinstance(shares, dict) else 0
            area[place] += share if isinstance(share, int | float) and 0 <= share <= 1 else 0
        for place in indices(entry.get("empty"), index):
            empty[place] += 1
    return [
        ClassLine(index=place, name=name, images=tagged[place], area=area[place] / tagged[place], empty=empty[place])
        for place, name in enumerate(names)
        if tagged[place]
    ]
