"""Plots as SVG text: pure functions of numbers and names; colours come from the page's style sheet.

ElementTree writes them, so that names are escaped and the result is well-formed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import numpy as np

from pseudomask.quoting import printable

_CELL_NUMBERS = 14  # with at most so many classes, a cell has room for its number


def stacked_bar(shares: Sequence[tuple[str, float]], label: str) -> str:
    """One bar of (style class, share in [0, 1]) parts, as wide as its container; `label` is for screen readers."""
    svg = _svg(100, 1, label, "bar")
    svg.set("preserveAspectRatio", "none")
    start = 0.0
    for style, share in shares:
        if share > 0:
            _add(svg, "rect", x=start, y=0, width=100 * share, height=1).set("class", style)
            start += 100 * share
    return _text(svg)


def curve(points: Sequence[tuple[float, float]], chosen: float | None) -> str:
    """Mean IoU over threshold, (threshold, mean in [0, 1]) ascending; `chosen` is marked. NaN points are left out."""
    known = [(x, y) for x, y in points if not math.isnan(y)]
    svg = _svg(520, 260, "mean IoU over background threshold", "curve")
    if not known:
        return _text(svg)
    left, right, top, bottom = 44.0, 508.0, 14.0, 218.0
    high = max(0.1, math.ceil(max(y for _, y in known) * 10) / 10)
    low, span = known[0][0], max(known[-1][0] - known[0][0], 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * (x - low) / span, bottom - (bottom - top) * y / high

    for step in range(5):
        y = place(low, high * step / 4)[1]
        _add(svg, "line", x1=left, x2=right, y1=y, y2=y).set("class", "grid")
        _label(svg, left - 8, y + 4, f"{100 * high * step / 4:.0f}", "end")
        x = left + (right - left) * step / 4
        _label(svg, x, bottom + 20, f"{low + span * step / 4:.2f}", "middle")
    _label(svg, (left + right) / 2, bottom + 38, "background threshold", "middle")
    line = _add(svg, "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*one) for one in known)))
    line.set("class", "line")
    best = min(known, key=lambda one: abs(one[0] - chosen)) if chosen is not None else None
    if best is not None:
        x, y = place(*best)
        _add(svg, "line", x1=x, x2=x, y1=y, y2=bottom).set("class", "mark")
        _add(svg, "circle", cx=x, cy=y, r=5).set("class", "dot")
        # A label at the right edge goes to the left of its dot, one at the top goes below.
        at_end = x > (left + right) / 2
        text = f"{100 * best[1]:.1f} at {best[0]:g}"
        _label(svg, x + (-10 if at_end else 10), max(y - 10, top + 8), text, "end" if at_end else "start", "strong")
    return _text(svg)


def confusion(names: Sequence[str], table: np.ndarray, *, most: int = 24) -> str:
    """A confusion matrix: rows are truth, columns predictions, darkness the share of the row.

    table: int (n, n). Classes in neither truth nor prediction are omitted; if there are more than `most`, those with
    the most wrong pixels are shown.
    """
    kept = chosen_classes(table, most)
    n, cell = len(kept), 34.0 if len(kept) <= _CELL_NUMBERS else 22.0
    short = [_short(names[index]) for index in kept]
    margin = 14 + 7.0 * max((len(name) for name in short), default=0)
    side = margin + n * cell
    svg = _svg(side + 4, side + 4, "truth (rows) taken for class (columns)", "confusion")
    for row, truth in enumerate(kept):
        total = int(table[truth].sum())
        y = margin + row * cell
        _label(svg, margin - 8, y + cell / 2 + 4, short[row], "end")
        top = _label(svg, 0, 4, short[row], "start")
        top.set("transform", f"translate({margin + row * cell + cell / 2:g} {margin - 8:g}) rotate(-90)")
        for column, predicted in enumerate(kept):
            share = int(table[truth, predicted]) / total if total else 0.0
            x = margin + column * cell
            box = _add(svg, "rect", x=x + 1, y=y + 1, width=cell - 2, height=cell - 2, rx=3)
            box.set("class", "hit" if row == column else "miss")
            box.set("fill-opacity", f"{0.06 + 0.94 * share**0.6:.3f}" if share else "0.04")
            what = f"{printable(names[truth])} taken for {printable(names[predicted])}"
            ET.SubElement(box, "title").text = f"{what}: {100 * share:.1f} %"
            if n <= _CELL_NUMBERS and share >= 0.005:
                style = "inverse" if share > 0.5 else "count"
                _label(svg, x + cell / 2, y + cell / 2 + 4, f"{100 * share:.0f}", "middle", style)
    return _text(svg)


def chosen_classes(table: np.ndarray, most: int) -> list[int]:
    """Indices of the classes in truth or prediction, ascending; at most `most`, those with the most wrong pixels."""
    pixels = table.sum(0) + table.sum(1)
    wrong = pixels - 2 * np.diagonal(table)
    there = [index for index in range(len(table)) if pixels[index] > 0]
    return sorted(sorted(there, key=lambda index: (-wrong[index], index))[:most])


def _short(name: str) -> str:
    text = printable(name)
    return text if len(text) <= 14 else text[:13] + "…"


def _svg(width: float, height: float, label: str, style: str) -> ET.Element:
    found = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width:g} {height:g}"})
    found.set("role", "img")
    found.set("aria-label", printable(label))
    found.set("class", style)
    return found


def _add(parent: ET.Element, tag: str, **attributes: object) -> ET.Element:
    values = {name: f"{one:.2f}" if isinstance(one, float) else str(one) for name, one in attributes.items()}
    return ET.SubElement(parent, tag, values)


def _label(parent: ET.Element, x: float, y: float, text: str, anchor: str, style: str = "") -> ET.Element:
    found = _add(parent, "text", x=float(x), y=float(y))
    found.set("text-anchor", anchor)
    if style:
        found.set("class", style)
    found.text = text
    return found


def _text(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")
