"""One image on the page: its indicators, its files, and its position."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudomask.quoting import printable
from pseudomask.reporting.urls import url
from pseudomask.running.quality import FILLED


@dataclass(frozen=True)
class Folders:
    """The folders that a panel's paths are relative to; None if there are no such files."""

    photo: Path | None = None
    scores: Path | None = None
    mask: Path | None = None
    truth: Path | None = None


@dataclass(frozen=True, slots=True)
class Indicators:
    """Signs of a doubtful mask, from the manifest: `empty` tags, mean margin, shares ignored and foreground.

    `unrefined`: it was to be refined and could not be.
    """

    empty: tuple[int, ...] = ()
    margin: float | None = None
    ignored: float | None = None
    area: float | None = None
    unrefined: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One image.

    classes: mask indices in its truth or mask (without truth: its tags), `ious`: of each, or empty; iou: their mean in
    [0, 1], None without truth or if there is nothing to measure. photo, scores, mask, truth: POSIX paths within the
    folders of `Folders`, None if there is no file.
    """

    key: str
    classes: tuple[int, ...] = ()
    ious: tuple[float, ...] = ()
    iou: float | None = None
    signs: Indicators = Indicators()
    photo: str | None = None
    scores: str | None = None
    mask: str | None = None
    truth: str | None = None

    def row(self) -> list[Any]:
        """The values that the page's script reads, in the order of its `COLUMNS`."""
        files = (self.photo, self.scores, self.mask, self.truth)
        signs = self.signs
        return [
            printable(self.key),
            _rounded(self.iou),
            list(self.classes),
            [_rounded(one) for one in self.ious],
            _rounded(signs.margin),
            _rounded(signs.ignored),
            _rounded(signs.area),
            list(signs.empty),
            *(None if file is None else url(file) for file in files),
            *([1] if signs.unrefined else []),
        ]


def signs_of(entry: Mapping[str, Any], index: Mapping[str, int]) -> Indicators:
    """The indicators in a manifest's line; absent and invalid values become None."""
    area = entry.get("area")
    shares = [_number(one) for one in area.values()] if isinstance(area, dict) else None
    return Indicators(
        empty=indices(entry.get("empty"), index),
        margin=_number(entry.get("margin")),
        ignored=_number(entry.get("ignored")),
        area=None if shares is None else math.fsum(one or 0.0 for one in shares),
        unrefined="unrefined" in entry,
    )


def indices(names: object, index: Mapping[str, int]) -> tuple[int, ...]:
    """The mask indices of class names; unknown names are skipped."""
    if not isinstance(names, list):
        return ()
    return tuple(index[name] for name in names if isinstance(name, str) and name in index)


def worst_first(panels: Iterable[Panel], *, by_iou: bool) -> list[Panel]:
    """Sorted by IoU, those without one last; or by the indicators, the most informative first.

    Their order: not refined, tags without a pixel, no background, small margin, many ignored pixels, small area.
    """
    return sorted(panels, key=_by_iou if by_iou else _by_signs)


def _by_iou(panel: Panel) -> tuple[float, str]:
    return (math.inf if panel.iou is None else panel.iou, panel.key)


def _by_signs(panel: Panel) -> tuple[bool, float, bool, float, float, float, str]:
    signs = panel.signs
    margin = math.inf if signs.margin is None else signs.margin
    area = math.inf if signs.area is None else signs.area
    filled = (signs.area or 0) >= FILLED
    return (not signs.unrefined, -len(signs.empty), not filled, margin, -(signs.ignored or 0.0), area, panel.key)


def present(panels: Sequence[Panel]) -> list[int]:
    """The classes in any panel, ascending."""
    return sorted({index for panel in panels for index in panel.classes})


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a number of a thousand digits
        return None
    return number if math.isfinite(number) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)
