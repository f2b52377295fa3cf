"""SVG: well-formed whatever the names, and drawn where the numbers say."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pseudomask.reporting import plots

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ["background", "<img src=x onerror=alert(1)>", "]]>&\"'\u2028", "nul\0\x08\ufffe", "\udcff\ud800"]


def parsed(text: str) -> ET.Element:
    root = ET.fromstring(text.encode("utf-8"))  # raises where it is no XML, or no UTF-8
    assert root.tag == f"{SVG}svg"
    return root


def test_a_bar_is_as_long_as_its_shares() -> None:
    root = parsed(plots.stacked_bar([("right", 0.5), ("extra", 0.0), ("missed", 0.25)], "a <b> & c"))
    boxes = [(one.get("class"), float(one.get("x", "")), float(one.get("width", ""))) for one in root]
    assert boxes == [("right", 0.0, 50.0), ("missed", 50.0, 25.0)]
    assert root.get("aria-label") == "a <b> & c"


def test_the_curve_rises_where_the_mean_does_and_marks_the_chosen_point() -> None:
    root = parsed(plots.curve([(0.0, 0.2), (0.5, 0.6), (1.0, 0.4)], 0.5))
    line = root.find(f"{SVG}polyline")
    assert line is not None
    (x0, y0), (x1, y1), (x2, y2) = (map(float, one.split(",")) for one in line.get("points", "").split())
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert (y0 - y1) / (y2 - y1) == pytest.approx(2, abs=0.02)  # 40 points against 20
    dot = root.find(f"{SVG}circle")
    assert dot is not None
    assert (float(dot.get("cx", "")), float(dot.get("cy", ""))) == pytest.approx((x1, y1), abs=0.1)
    assert "60.0 at 0.5" in [one.text for one in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("points", [[], [(0.3, math.nan)], [(0.3, 0.5)], [(0.0, 0.0), (0.1, 0.0)]])
def test_curves_of_little(points: list[tuple[float, float]]) -> None:
    assert "nan" not in plots.curve(points, 0.3)
    parsed(plots.curve(points, 0.3))


def test_a_confusion_cell_is_as_dark_as_its_share_of_the_row() -> None:
    table = np.array([[90, 10, 0], [0, 50, 0], [0, 0, 0]])
    root = parsed(plots.confusion(["background", "cat", "never seen"], table))
    titles = {one.findtext(f"{SVG}title"): float(one.get("fill-opacity", "")) for one in root.iter(f"{SVG}rect")}
    assert [*titles] == [
        "background taken for background: 90.0 %",
        "background taken for cat: 10.0 %",
        "cat taken for background: 0.0 %",
        "cat taken for cat: 100.0 %",
    ]
    dark = list(titles.values())
    assert dark[3] == 1.0
    assert dark[3] > dark[0] > dark[1] > dark[2]


def test_names_are_shown_and_never_read_as_markup() -> None:
    table = np.full((5, 5), 3)
    root = parsed(plots.confusion(HOSTILE, table))
    titles = [one.text or "" for one in root.iter(f"{SVG}title")]
    assert any("<img src=x onerror=alert(1)>" in one for one in titles)
    assert not any(tag in plots.confusion(HOSTILE, table) for tag in ("<img", "\0", "\u2028"))


def test_of_many_classes_those_with_the_most_wrong_pixels_are_kept() -> None:
    table = np.diag(np.full(40, 100))
    table[7, 9] = 50
    table[30, 3] = 20
    assert plots.chosen_classes(table, 4) == [3, 7, 9, 30]
    assert plots.chosen_classes(table[:3, :3], 24) == [0, 1, 2]
