"""What a page says, without a word of HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pseudomask.reporting.panels import Folders, Panel
from pseudomask.reporting.text import clean

Line = tuple[str, str]

_FACTS = ("command", "device", "seed", "protocol", "weights", "timings", "peak_memory", "packages", "platform")
MOST_FAILURES = 1000


@dataclass(frozen=True, kw_only=True)
class ClassLine:
    """One class: shares in [0, 1] of its pixels in truth or mask, None where undefined or without truth.

    images: with it; area: its mean share of those images' pixels; empty: images that have the tag and no pixel; filled:
    images that it covers.
    """

    index: int
    name: str
    iou: float | None = None
    false_positive: float | None = None
    false_negative: float | None = None
    precision: float | None = None
    recall: float | None = None
    in_mean: bool = True
    images: int = 0
    area: float | None = None
    empty: int = 0
    filled: int = 0


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page.

    hero: the number that matters, and what it is; facts: a few others; protocol and record: (label, value) lines;
    curve and confusion: SVG, "" where there is none; swaps: (truth, taken for, share); failures: (image, reason).
    names: all classes with background first; panels: worst first.
    """

    title: str
    hero: Line
    facts: Sequence[Line] = ()
    protocol: Sequence[Line] = ()
    record: Sequence[Line] = ()
    config: str = ""
    with_truth: bool = False
    classes: Sequence[ClassLine] = ()
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
    """(value, label) of the orders that the page's data allow; "worst" is that of `panels`."""
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
    """What a run.json tells people: dotted names and short values; the config is shown whole elsewhere."""
    return [
        (clean(name), clean(value)) for fact in _FACTS if fact in record for name, value in _flat(fact, record[fact])
    ]


def _flat(name: str, value: object) -> Iterator[Line]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name} · {key}", inner)
    elif isinstance(value, list):
        yield name, ", ".join(str(one) for one in value)
    elif value is not None and value != "":
        yield name, _in_words(name, value)


def _in_words(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if name.startswith("timings"):
        return f"{value:g} s"
    return f"{value / 2**20:,.0f} MiB" if name == "peak_memory" else f"{value:g}" if value < 1e6 else str(value)


def percent(share: float | None, digits: int = 1) -> str:
    """`share` in [0, 1] in per cent; a dash where there is none."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"
