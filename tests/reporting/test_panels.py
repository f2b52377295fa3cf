"""What comes first, and what a manifest's line is worth."""

from __future__ import annotations

import json
import random

import pytest

from pseudomask.quoting import printable
from pseudomask.reporting.page import Page, sorts
from pseudomask.reporting.panels import Indicators, Panel, present, signs_of, worst_first
from pseudomask.reporting.urls import folder_url, url

INDEX = {"background": 0, "cat": 1, "dog": 2}


def test_by_iou_the_lowest_is_first_and_what_has_none_last() -> None:
    panels = [Panel("c", iou=0.5), Panel("none"), Panel("a", iou=0.9), Panel("b", iou=0.1), Panel("zero", iou=0.0)]
    random.Random(1).shuffle(panels)
    assert [one.key for one in worst_first(panels, by_iou=True)] == ["zero", "b", "c", "a", "none"]


def test_by_signs_each_counts_only_where_those_before_it_are_equal() -> None:
    panels = [
        Panel("two tags empty", signs=Indicators((1, 2), 0.9, 0.0, 0.9)),
        Panel("one tag empty", signs=Indicators((1,), 0.1, 0.0, 0.9)),
        Panel("small margin", signs=Indicators((), 0.05, 0.0, 0.9)),
        Panel("much ignored", signs=Indicators((), 0.2, 0.8, 0.9)),
        Panel("small", signs=Indicators((), 0.2, 0.1, 0.01)),
        Panel("large", signs=Indicators((), 0.2, 0.1, 0.5)),
        Panel("nothing known", signs=Indicators()),
    ]
    told = [one.key for one in panels]
    random.Random(2).shuffle(panels)
    assert [one.key for one in worst_first(panels, by_iou=False)] == told


def test_signs_are_read() -> None:
    entry = {"empty": ["dog"], "margin": 0.25, "ignored": 0.5, "area": {"cat": 0.125, "dog": 0.25}}
    assert signs_of(entry, INDEX) == Indicators((2,), 0.25, 0.5, 0.375)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"empty": "dog", "margin": "small", "ignored": 10**400, "area": [1]},
        {"empty": [["dog"], 3, "cow"], "margin": float("nan"), "ignored": None, "area": 7},
    ],
)
def test_signs_of_a_foreign_manifest_are_unknown(entry: dict[str, object]) -> None:
    assert signs_of(entry, INDEX) == Indicators()


def test_orders_are_offered_only_where_there_is_what_they_sort_by() -> None:
    bare = Page(title="t", hero=("masks", "1"), panels=[Panel("a")])
    assert [value for value, _ in sorts(bare)] == ["worst", "name"]
    full = Page(title="t", hero=("", ""), with_truth=True, panels=[Panel("a", signs=Indicators((1,), 0.1, 0.2, 0.3))])
    assert [value for value, _ in sorts(full)] == [
        *("worst", "best", "empty", "margin", "ignored", "small", "large", "name")
    ]


def test_a_row_is_plain_and_its_links_are_quoted() -> None:
    panel = Panel("a b", classes=(0, 2), ious=(0.12345, float("nan")), photo="a b#?.jpg", mask="ä/\udcff.png")
    assert json.loads(json.dumps(panel.row())) == [
        *("a b", None, [0, 2], [0.1235, None], None, None, None, []),
        *("a%20b%23%3F.jpg", None, "%C3%A4/%FF.png", None),
    ]


def test_present() -> None:
    assert present([Panel("a", classes=(3, 0)), Panel("b", classes=(1,))]) == [0, 1, 3]


def test_names_on_one_line() -> None:
    assert printable("plain ä 漢") == "plain ä 漢"
    assert printable("a\nb\u2028c\x1b[1m\udcff") == "a\\nb\\u2028c\\x1b[1m\\xff"
    assert printable("\ud800").isprintable()


def test_no_url_is_a_scheme(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert url("javascript:alert(1)") == "javascript%3Aalert%281%29"
    assert folder_url(tmp_path / "x y", tmp_path / "pages" / "p.html") == "../x%20y/"
    assert folder_url(tmp_path, tmp_path / "p.html") == "./"
