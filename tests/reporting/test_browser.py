"""The page in a real browser, opened from disk."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, drawn_files, made_page

from pseudomask.reporting.panels import Panel
from pseudomask.reporting.thumbs import Maker
from pseudomask.reporting.writer import write_page

pytestmark = pytest.mark.browser


def keys(tab: Any) -> list[str]:
    return [str(one) for one in tab.eval_on_selector_all(".panel", "all => all.map(one => one.dataset.key)")]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images; the first 5 have thumbnails inside, the others are linked."""
    folder = tmp_path_factory.mktemp("small")
    panels = [
        Panel(
            one.key, one.classes, one.ious, one.iou, one.signs,
            photo=f"{one.key}.jpg", mask=f"{one.key}.png", truth=f"{one.key}.png",
        )
        for one in made_page(30).panels
    ]  # fmt: skip
    places = drawn_files(folder, [one.key for one in panels])
    page = made_page(0, panels=panels, folders=places)
    bare = write_page(folder / "page.html", page, Maker(places), budget=0, advance=lambda: None)
    thumb = sum(map(len, Maker(places)(panels[0]).values()))
    found = write_page(folder / "page.html", page, Maker(places), budget=bare.size + 6 * thumb, advance=lambda: None)
    assert 3 <= found.inside < 20
    return found.path


def test_it_renders_sorts_and_filters(tab: Any, small: Path) -> None:
    tab.goto(small.as_uri())
    tab.wait_for_selector(".panel")
    assert tab.inner_text("#count") == "30 images"
    assert keys(tab)[:3] == ["photo 00000", "photo 00001", "photo 00002"]
    tab.select_option("#sort", "best")
    assert keys(tab)[:2] == ["photo 00029", "photo 00028"]
    tab.select_option("#sort", "margin")
    assert keys(tab)[0] == "photo 00029"
    tab.select_option("#sort", "empty")
    assert keys(tab)[:3] == ["photo 00000", "photo 00005", "photo 00010"]
    tab.select_option("#class", label="dog")
    assert tab.inner_text("#count") == "10 of 30 images"
    assert {int(key[-2:]) % 3 for key in keys(tab)} == {0}
    tab.fill("#name", "0002")
    assert sorted(keys(tab)) == ["photo 00021", "photo 00024", "photo 00027"]
    tab.fill("#name", "no such")
    assert keys(tab) == []
    assert tab.inner_text("#count") == "0 of 30 images"


def test_pictures_inside_and_linked_are_shown(tab: Any, small: Path) -> None:
    tab.goto(small.as_uri())
    tab.wait_for_selector(".panel")
    for place, scheme in ((0, "data:"), (19, "file:")):
        panel = tab.locator(".panel").nth(place)
        panel.scroll_into_view_if_needed()
        pictures = panel.locator("img.alone, img.over")
        assert pictures.count() == 3
        for i in range(3):
            assert pictures.nth(i).evaluate("one => one.src").startswith(scheme)
            tab.wait_for_function("one => one.complete", arg=pictures.nth(i).element_handle())
            assert pictures.nth(i).evaluate("one => one.naturalWidth") == 64


def test_the_slider_fades_the_overlay(tab: Any, small: Path) -> None:
    tab.goto(small.as_uri())
    tab.wait_for_selector("img.over")
    opacity = "one => Number(getComputedStyle(one).opacity)"
    assert tab.eval_on_selector("img.over", opacity) == pytest.approx(0.6)
    tab.focus("#mix")
    tab.keyboard.press("Home")
    assert tab.eval_on_selector("img.over", opacity) == 0
    assert tab.eval_on_selector("img.under", opacity) == 1
    tab.keyboard.press("End")
    assert tab.eval_on_selector("img.over", opacity) == 1
    assert tab.eval_on_selector("img.under", opacity) == 0
    assert tab.get_attribute("#mix", "aria-valuetext") == "100 %"


def test_the_keyboard_reaches_every_panel(tab: Any, small: Path) -> None:
    tab.goto(small.as_uri())
    tab.wait_for_selector(".panel")
    focused = "() => document.activeElement.dataset.key"
    for key, number in (("j", 0), ("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("k", 0)):
        tab.keyboard.press(key)
        assert tab.evaluate(focused) == f"photo {number:05d}"
    for _ in range(40):
        tab.keyboard.press("j")
    assert tab.evaluate(focused) == "photo 00029"
    assert tab.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert tab.locator('.panel[tabindex="0"]').count() == 1
    tab.focus("#name")
    tab.keyboard.type("jk")  # letters in a field are letters
    assert tab.input_value("#name") == "jk"


def test_every_control_has_a_name(tab: Any, small: Path) -> None:
    tab.goto(small.as_uri())
    tab.wait_for_selector(".panel")
    nameless = """all => all.filter(one => !one.labels?.length && !one.getAttribute("aria-label")).map(one => one.id)"""
    assert tab.eval_on_selector_all("button, input, select", nameless) == []


def test_light_and_dark(tab: Any, small: Path) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    tab.emulate_media(color_scheme="light")
    tab.goto(small.as_uri())
    light = tab.evaluate(ground)
    tab.emulate_media(color_scheme="dark")
    dark = tab.evaluate(ground)
    assert light != dark
    tab.click("#theme")
    assert tab.evaluate(ground) == light
    tab.click("#theme")
    assert tab.evaluate(ground) == dark


def test_a_phone_needs_no_sideways_scrolling(tab: Any, small: Path) -> None:
    tab.set_viewport_size({"width": 360, "height": 740})
    tab.goto(small.as_uri())
    tab.wait_for_selector(".panel")
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_hostile_names_stay_text(tab: Any, tmp_path: Path) -> None:
    panels = [Panel(HOSTILE, (1,), (0.5,), 0.5, photo=f"{HOSTILE}.jpg"), Panel("javascript:alert(1)", (1,), (0.1,))]
    page = made_page(0, title=HOSTILE, names=("background", HOSTILE), panels=panels)
    write_page(tmp_path / "page.html", page, lambda panel: {}, budget=10**6, advance=lambda: None)
    tab.goto((tmp_path / "page.html").as_uri())
    tab.wait_for_selector(".panel")
    assert "onerror" in tab.title()
    assert tab.inner_text(".panel .title") == HOSTILE.replace("\u2028", "\\u2028")
    assert tab.locator("[onerror]").count() == 0
    assert tab.locator("img").count() == 0  # there are no such files to show


def test_ten_thousand_images_are_there_in_seconds(tab: Any, tmp_path: Path) -> None:
    thumb = {"photo": "data:image/png;base64," + "A" * 4000}
    found = write_page(tmp_path / "page.html", made_page(10_000), lambda one: thumb, budget=10**7, advance=lambda: None)
    assert found.inside > 1000
    started = time.monotonic()
    tab.goto(found.path.as_uri(), wait_until="domcontentloaded")
    tab.wait_for_selector(".panel")
    assert tab.inner_text("#count") == "10,000 images"
    tab.select_option("#sort", "small")
    tab.select_option("#class", label="dog")
    assert tab.inner_text("#count") == "3,334 of 10,000 images"
    passed = time.monotonic() - started
    assert len(keys(tab)) < 200  # laid out as one comes to them
    for _ in range(3):
        tab.evaluate("() => scrollTo(0, document.body.scrollHeight)")
        tab.wait_for_timeout(300)
    assert len(keys(tab)) > 40
    if os.getloadavg()[0] < 2:
        assert passed < 8
