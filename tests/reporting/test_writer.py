"""The file: hostile names, the budget, what is inside and what is linked."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import HOSTILE, Reader, made_page

from pseudomask.measuring.reports import ClassRow
from pseudomask.reporting import writer
from pseudomask.reporting.page import Page
from pseudomask.reporting.panels import Panel
from pseudomask.reporting.writer import Written, write_page

THUMB = {"photo": "data:image/webp;base64," + "A" * 2000}


def written(path: Path, page: Page, budget: int = 10**7, workers: int = 1) -> Written:
    return write_page(path, page, lambda panel: dict(THUMB), budget=budget, workers=workers, advance=lambda: None)


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    found = written(tmp_path / "page.html", made_page(3))
    page = Reader(found.path)
    assert found.size == found.path.stat().st_size
    loaded = [value for _, given in page.tags for name, value in given.items() if name in ("src", "srcset", "data")]
    assert loaded == []
    assert not any(tag in ("link", "iframe", "object", "embed") for tag, _ in page.tags)
    text = found.path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in text
    assert "https:" not in text


def test_names_are_only_ever_text(tmp_path: Path) -> None:
    page = made_page(
        0,
        title=HOSTILE,
        names=("background", HOSTILE),
        classes=[ClassRow(1, HOSTILE, 0.5, 1.0, 0.5, 0.0, 0.5, 100, 50, True)],
        facts=[(HOSTILE, HOSTILE)],
        protocol=[(HOSTILE, HOSTILE)],
        config=HOSTILE,
        swaps=[(HOSTILE, HOSTILE, 0.1)],
        failures=[(HOSTILE, HOSTILE), ("bytes \udcff\ud800", "\0")],
        notes=[HOSTILE],
        panels=[Panel(HOSTILE, classes=(1,), photo=f"{HOSTILE}.jpg")],
    )
    found = Reader(written(tmp_path / "page.html", page).path)
    assert not any(tag == "img" for tag, _ in found.tags)
    assert not any(name.startswith("on") for _, given in found.tags for name in given)
    plain = Reader(written(tmp_path / "plain.html", made_page(1)).path)
    assert sum(tag == "script" for tag, _ in found.tags) == sum(tag == "script" for tag, _ in plain.tags)
    shown = HOSTILE.replace("\u2028", "\\u2028")
    assert found.rows[0][0] == shown
    assert found.islands["meta"]["names"][1] == shown
    assert shown in found.text
    assert "49" not in found.text.split("Images")[0]  # no template inside a name


@pytest.mark.parametrize("workers", [1, 2])
def test_as_many_thumbnails_as_fit_the_first_first(tmp_path: Path, workers: int) -> None:
    page = made_page(40)
    bare = written(tmp_path / "bare.html", page, budget=0)
    assert (bare.inside, bare.images) == (0, 40)
    budget = bare.size + 20_000
    found = written(tmp_path / "page.html", page, budget, workers)
    assert budget - 2500 < found.size <= budget
    assert found.inside == 9
    assert Reader(found.path).thumbs == [f"t{number}" for number in range(9)]
    assert len(Reader(found.path).rows) == 40


def test_rows_come_in_several_islands_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_CHUNK", 7)
    found = Reader(written(tmp_path / "page.html", made_page(20), budget=0).path)
    assert [row[0] for row in found.rows] == [f"photo {number:05d}" for number in range(20)]
    assert sum(given.get("class") == "rows" for _, given in found.tags) == 3


def test_a_page_that_breaks_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def broken(panel: Panel) -> dict[str, str]:
        raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        write_page(path, made_page(3), broken, budget=10**7, advance=lambda: None)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


def test_few_failures_are_all_told_and_many_are_counted(tmp_path: Path) -> None:
    few = written(tmp_path / "few.html", made_page(1, failures=[("a.jpg", "truncated")])).path
    assert "1 image has no mask" in few.read_text("utf-8")
    many = written(tmp_path / "many.html", made_page(1, failures=[(f"{i}.jpg", "empty") for i in range(1500)])).path
    text = many.read_text("utf-8")
    assert text.count("<li>") == 1000
    assert "1500 images have no mask" in text


def test_a_page_without_images(tmp_path: Path) -> None:
    assert written(tmp_path / "page.html", made_page(0)).line().endswith("no images)")
