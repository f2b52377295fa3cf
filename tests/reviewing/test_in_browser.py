"""The served page in a real browser, by keyboard alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import PATIENCE
from served import Client, Open

from pseudomask.data.review import Verdict, read_review
from pseudomask.masks import palette
from pseudomask.scores import load_scores

pytestmark = pytest.mark.browser

ODD = "sömething, else;.v2"
EXPECTED = ("status of 409", "status of 500", "status of 422", "ERR_CONNECTION_REFUSED", "status of 404")


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A browser that asks nobody but the server, and that fails the test where a page logs an unexpected error."""
    found = browser.new_context(viewport={"width": 1280, "height": 900})
    troubles: list[str] = []

    def hear(message: Any) -> None:
        if message.type in ("error", "warning") and not any(one in message.text for one in EXPECTED):
            troubles.append(message.text)

    def watch(page: Any) -> None:
        page.set_default_timeout(PATIENCE)
        page.on("console", hear)
        page.on("pageerror", lambda error: troubles.append(str(error)))

    found.on("page", watch)
    found.on("request", lambda one: None if one.url.startswith("http://127.0.0.1:") else troubles.append(one.url))
    yield found
    found.close()
    assert troubles == []


def opened(context: Any, client: Client) -> Any:
    tab = context.new_page()
    tab.goto(client.server.url)
    tab.wait_for_selector(".panel")
    return tab


def press(tab: Any, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def told(tab: Any, part: str) -> None:
    tab.wait_for_function("part => document.getElementById('said').textContent.includes(part)", arg=part)


def settled(client: Client, key: str, seen: int) -> None:
    """Wait until the server has had so many changes of a row."""
    for _ in range(400):
        if client.row(key)["seen"] >= seen:
            return
        time.sleep(0.02)
    pytest.fail(f"{key}: not written")


def order(client: Client) -> list[str]:
    return [panel.key for panel in client.session.page.panels]


def pressed(tab: Any) -> dict[str, str]:
    found = tab.eval_on_selector_all(
        '[aria-pressed="true"]', "all => all.map(one => [one.closest('.panel').dataset.key, one.dataset.verdict])"
    )
    return dict(found)


def test_the_keyboard_alone_reviews_a_folder(context: Any, made: Path, serve: Open) -> None:
    client = serve(made)
    tab = opened(context, client)
    first, second, third, fourth = order(client)
    press(tab, "j", "g", "j", "b", "n")
    tab.keyboard.type("gz, „half“")
    press(tab, "Enter", "j", "u", "j", "g", "b", "z")
    told(tab, "2 good, 1 bad, 1 unsure, 0 to do.")
    settled(client, fourth, 1)
    suffixed = {f"{key}.png" for key in (first, second, third, fourth)}
    rows = read_review(made / "review.csv")
    assert {*rows} == suffixed
    assert [rows[f"{key}.png"] for key in (first, second, third, fourth)] == [
        Verdict("good"), Verdict("bad", "gz, „half“"), Verdict("unsure"), Verdict("good"),
    ]  # fmt: skip
    tab.reload()
    tab.wait_for_selector(".panel")
    assert pressed(tab) == {first: "good", second: "bad", third: "unsure", fourth: "good"}
    press(tab, "j", "s")
    told(tab, "Everything is kept as you say it.")
    press(tab, "z")
    told(tab, "Nothing to undo.")
    tab.select_option("#verdict", "none")
    assert tab.inner_text("#count") == "0 of 4 images"


def test_two_tabs_and_the_later_one_is_told(context: Any, made: Path, serve: Open) -> None:
    client = serve(made)
    one, other = opened(context, client), opened(context, client)
    key = order(client)[0]
    one.bring_to_front()
    press(one, "j", "g")
    settled(client, key, 1)
    other.evaluate("() => 0")
    press(other, "j", "b")
    told(other, f"{key}: changed elsewhere in the meantime, now good. Your change was not made.")
    assert pressed(other) == {key: "good"}
    press(other, "b")
    settled(client, key, 2)
    one.evaluate("() => dispatchEvent(new Event('focus'))")  # as when one comes back to it
    one.wait_for_selector('[data-verdict="bad"][aria-pressed="true"]')


def test_tags_are_checked_and_the_command_is_shown(context: Any, made: Path, serve: Open) -> None:
    client = serve(made)
    tab = opened(context, client)
    key = order(client)[0]
    before = client.row(key)["tags"]
    assert tab.is_hidden("#again")
    press(tab, "j", "t", "Control+a")
    tab.keyboard.type("dics")
    press(tab, "Enter")
    told(tab, f"{key}: no class is called 'dics'; did you mean 'disc'?")
    field = tab.locator(".panel .tags").first
    assert field.get_attribute("aria-invalid") == "true"
    assert tab.evaluate("() => document.activeElement.className") == "tags"
    press(tab, "Escape")
    assert field.input_value() == before
    press(tab, "t", "Control+a")
    tab.keyboard.type("bar, square, disc")
    press(tab, "Enter")
    told(tab, f"{key}: tags bar;disc;square, to be extracted again.")
    assert tab.inner_text("#command") == client.session.again[0]
    assert tab.inner_text("#marked") == "1 photo has new tags."
    assert field.input_value() == "bar;disc;square"
    assert tab.locator(".panel.marked").count() == 1
    press(tab, "g")
    settled(client, key, 2)
    assert client.row(key)["verdict"] == "good"
    tab.reload()
    assert tab.inner_text("#command") == client.session.again[0]


PIXELS = """image => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const brush = canvas.getContext("2d");
  brush.drawImage(image, 0, 0);
  return [...brush.getImageData(0, 0, canvas.width, canvas.height).data];
}"""


def test_the_slider_repaints_the_mask(context: Any, made: Path, serve: Open) -> None:
    client = serve(made)
    tab = opened(context, client)
    key = order(client)[0]
    assert client.session.made.threshold == 0.3
    press(tab, "j", "c", *["ArrowRight"] * 12)
    panel = tab.locator(".panel").first
    assert panel.locator("output").inner_text() == "0.42"
    image = panel.locator('[data-kind="mask"] .over')
    tab.wait_for_function("one => one.src.endsWith('?above=0.42') && one.complete", arg=image.element_handle())
    scores = load_scores(made / "scores" / f"{key}.npz")
    mask = scores.mask(0.42)
    seen = np.array(image.evaluate(PIXELS), np.uint8).reshape(*mask.shape, 4)
    assert (seen[..., 3] == np.where(mask > 0, 255, 0)).all()
    assert (seen[mask > 0, :3] == palette()[mask[mask > 0]]).all()
    assert "scores above 0.42" in panel.locator('[data-kind="mask"] figcaption').inner_text()
    press(tab, "Escape")
    assert panel.locator("output").inner_text() == "as made"
    tab.wait_for_function("one => !one.src.includes('?')", arg=image.element_handle())
    assert tab.evaluate("() => document.activeElement.className") == "panel"


def test_without_scores_the_slider_says_so(context: Any, made: Path, serve: Open) -> None:
    shutil.rmtree(made / "scores")
    tab = opened(context, serve(made))
    assert tab.locator(".panel .cut:disabled").count() == 4
    assert tab.locator(".panel output").first.inner_text() == "no stored scores to cut"
    press(tab, "j", "c")
    told(tab, "no stored scores to cut")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_width_and_every_stop(context: Any, made: Path, serve: Open, scheme: str) -> None:
    client = serve(made)
    client.say(order(client)[0], tags="bar;disc;square")
    tab = opened(context, client)
    tab.emulate_media(color_scheme=scheme)
    for width in (320, 360, 760, 1280, 2560):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
    tab.set_viewport_size({"width": 320, "height": 900})
    press(tab, "j")
    stops = []
    for _ in range(7):
        press(tab, "Tab")
        stops.append(tab.evaluate("() => document.activeElement.getAttribute('aria-label')"))
        assert tab.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    key = order(client)[0]
    assert stops == [
        "good, key g", "bad, key b", "unsure, key u", f"Note on {key}", f"Tags of {key}, key t",
        f"Threshold of the scores of {key}, key c", "Undo, key z",
    ]  # fmt: skip


def test_what_is_said_to_nobody_is_not_called_saved(context: Any, made: Path, serve: Open) -> None:
    client = serve(made)
    tab = opened(context, client)
    press(tab, "j", "g")
    settled(client, order(client)[0], 1)
    folder = made.with_name("moved")
    made.rename(folder)
    press(tab, "b")
    told(tab, "NOT SAVED")
    folder.rename(made)
    told(tab, "Saved.")
    assert read_review(made / "review.csv") == {f"{order(client)[0]}.png": Verdict("bad")}


def test_names_stay_text(context: Any, made: Path, serve: Open, source: Path, tmp_path: Path) -> None:
    hostile = '<img src=x onerror="document.title=1">&amp;"\''
    shutil.copy(made / "p01.png", made / f"{hostile}.png")
    client = serve(made)
    tab = opened(context, client)
    assert hostile in tab.locator(".panel .title").all_text_contents()
    assert tab.locator("[onerror]").count() == 0
    tab.fill("#name", "onerror")
    press(tab, "Tab")
    tab.locator(".panel").first.focus()
    press(tab, "b")
    settled(client, hostile, 1)
    assert read_review(made / "review.csv") == {hostile: Verdict("bad")}
