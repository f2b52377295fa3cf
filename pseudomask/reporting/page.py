"""The content of a page, without HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pseudomask.measuring.reports import ClassRow
from pseudomask.quoting import printable
from pseudomask.reporting.panels import Folders, Panel

Line = tuple[str, str]

_FACTS = ("command", "device", "seed", "protocol", "weights", "timings", "peak_memory", "packages", "platform")
MOST_FAILURES = 1000


@dataclass(frozen=True)
class TagRow:
    """One class in a page without truth.

    images: number with the tag; area: its mean share of their pixels, in [0, 1]; empty: images with the tag but no
    pixel of the class; filled: images that it covers.
    """

    name: str
    images: int
    area: float
    empty: int
    filled: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page.

    Attributes:
        hero: the main number and its label; `facts`: a few others; `protocol`, `record`: (label, value) lines.
        classes: `ClassRow`s with truth, otherwise `TagRow`s.
        curve, confusion: SVG, or ""; `swaps`: (truth, predicted, share); `failures`: (image, reason).
        names: all classes, background first; `panels`: worst first.
    """

    title: str
    hero: Line
    facts: Sequence[Line] = ()
    protocol: Sequence[Line] = ()
    record: Sequence[Line] = ()
    config: str = ""
    with_truth: bool = False
    classes: Sequence[ClassRow] | Sequence[TagRow] = ()
    curve: str = ""
    confusion: str = ""
    swaps: Sequence[tuple[str, str, float]] = ()
    failures: Sequence[Line] = ()
    names: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    folders: Folders = field(default_factory=Folders)
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()


def sorts(page: Page) -> list[Line]:
    """(value, label) of the orders that the page's data allow; "worst" is the order of `panels`."""
    signs = [panel.signs for panel in page.panels]
    found = [("worst", "Worst first" if page.with_truth else "Most doubtful first")]
    if page.with_truth:
        found.append(("best", "Best first"))
    if any(one.empty for one in signs):
        found.append(("empty", "Tags without a pixel"))
    if any(one.margin is not None for one in signs):
        found.append(("margin", "Smallest margin"))
    if any(one.ignored for one in signs):
        found.append(("ignored", "Most ignored"))
    if any(one.area is not None for one in signs):
        found += [("small", "Smallest area"), ("large", "Largest area")]
    return [*found, ("name", "Name")]


def record_lines(record: Mapping[str, Any]) -> list[Line]:
    """The facts in a run.json as (dotted name, value); the config is shown separately."""
    flat = [line for fact in _FACTS if fact in record for line in _flat(fact, record[fact])]
    return [(printable(name), printable(value)) for name, value in flat]


def _flat(name: str, value: object) -> Iterator[Line]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name} · {key}", inner)
    elif isinstance(value, list):
        yield name, ", ".join(str(one) for one in value)
    elif value is not None and value != "":
        yield name, _formatted(name, value)


def _formatted(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if name.startswith("timings"):
        return f"{value:g} s"
    return f"{value / 2**20:,.0f} MiB" if name == "peak_memory" else f"{value:g}" if value < 1e6 else str(value)


def percent(share: float | None, digits: int = 1) -> str:
    """`share` in [0, 1] in per cent; a dash if undefined."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"
