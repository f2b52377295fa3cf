"""Verdicts made in the page by keyboard alone, and the file that the verbs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, Reader, made_page

from pseudomask.config.review import ReviewOptions
from pseudomask.data.review import Verdict, left_out, read_review
from pseudomask.reporting.panels import Folders, Panel
from pseudomask.reporting.urls import url
from pseudomask.reporting.writer import write_page
from pseudomask.running.listing import File
from pseudomask.running.reporter import SilentReporter

NAMES = ["a, b", 'say "hé"', "日本/猫 é;\tx", "no\u00a0break\nline", "__proto__", HOSTILE]


def written(path: Path, names: list[str] = NAMES, **more: Any) -> Path:
    panels = [Panel(name, (1,), (0.5,), i / 9, photo=f"{name}.jpg", mask=f"{name}.png") for i, name in enumerate(names)]
    write_page(path, made_page(0, panels=panels, **more), lambda one: {}, budget=10**6, advance=lambda: None)
    return path


def opened(tab: Any, path: Path) -> None:
    tab.goto(path.as_uri())
    tab.wait_for_selector(".panel")


def press(tab: Any, keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def saved(tab: Any, path: Path) -> Path:
    with tab.expect_download() as found:
        tab.keyboard.press("s")
    assert found.value.suggested_filename == "review.csv"
    found.value.save_as(path)
    return path


@pytest.mark.browser
def test_the_keyboard_alone_makes_a_file_that_review_reads(tab: Any, tmp_path: Path) -> None:
    opened(tab, written(tmp_path / "page.html"))
    said = tab.locator('#said[aria-live="polite"]')
    assert said.inner_text() == "0 good, 0 bad, 0 unsure, 6 to do."
    press(tab, "gjg")  # the first g has no image yet
    assert said.inner_text() == "a, b: good. 1 good, 0 bad, 0 unsure, 5 to do."
    press(tab, "jbn")
    tab.keyboard.type('gz, "ç"')  # letters in a field are letters
    tab.keyboard.press("Enter")
    press(tab, "jujbjgjb")
    assert said.inner_text().endswith("2 good, 3 bad, 1 unsure, 0 to do.")
    path = saved(tab, tmp_path / "review.csv")
    rows = read_review(path)
    assert rows == {
        f"{name}.jpg": Verdict(verdict, note)
        for name, verdict, note in zip(
            NAMES, ("good", "bad", "unsure", "bad", "good", "bad"), ("", 'gz, "ç"', "", "", "", ""), strict=True
        )
    }
    masks = [File(name, f"{name}.png", tmp_path / f"{name}.png") for name in NAMES]
    found = left_out(ReviewOptions(review=path, unsure="drop"), masks, SilentReporter())
    assert [one.key for one in found.kept(masks)] == ["a, b", "__proto__"]


@pytest.mark.browser
def test_undo_and_what_the_browser_keeps(tab: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "page.html")
    opened(tab, path)
    pressed = lambda: tab.eval_on_selector_all(  # noqa: E731
        '[aria-pressed="true"]', "all => all.map(one => [one.closest('.panel').dataset.key, one.textContent])"
    )
    press(tab, "jbgju")
    assert pressed() == [["a, b", "✓ good"], ['say "hé"', "? unsure"]]
    press(tab, "z")
    assert pressed() == [["a, b", "✓ good"]]
    press(tab, "z")
    assert pressed() == [["a, b", "✕ bad"]]
    press(tab, "zz")
    assert tab.inner_text("#said").startswith("Nothing to undo.")
    press(tab, "ukg")  # the second image is unsure, the first good
    opened(tab, path)
    assert pressed() == [["a, b", "✓ good"], ['say "hé"', "? unsure"]]
    tab.select_option("#verdict", "none")
    assert tab.inner_text("#count") == "4 of 6 images"
    tab.select_option("#verdict", "good")
    press(tab, "jg")
    assert tab.inner_text("#said") == "a, b: no verdict. 0 good, 0 bad, 1 unsure, 5 to do."
    opened(tab, written(tmp_path / "other.html", config="another run"))
    assert pressed() == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tab_goes_through_the_controls_of_one_panel(tab: Any, tmp_path: Path, scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)
    opened(tab, written(tmp_path / "page.html"))
    press(tab, "jj")
    stops = []
    for _ in range(6):
        tab.keyboard.press("Tab")
        stops.append(tab.evaluate("() => document.activeElement.getAttribute('aria-label')"))
        assert tab.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    note = 'Note on say "hé"'
    assert stops == [
        "good, key g", "bad, key b", "unsure, key u", note, "Undo, key z", "Save review.csv, key s",
    ]  # fmt: skip
    for width in (320, 2560):
        tab.set_viewport_size({"width": width, "height": 700})
        assert tab.evaluate("() => document.documentElement.scrollWidth") <= width


def test_a_run_is_its_folder_and_settings(tmp_path: Path) -> None:
    def run(**more: Any) -> object:
        return Reader(written(tmp_path / "page.html", **more)).islands["meta"]["run"]

    assert run() == run(title="another title")
    assert len({run(), run(config="seed = 1"), run(folders=Folders(mask=tmp_path))}) == 3


def test_names_are_whole_in_the_page(tmp_path: Path) -> None:
    rows = Reader(written(tmp_path / "page.html")).rows
    assert [row[8] for row in rows] == [url(f"{name}.jpg") for name in NAMES]
