"""Messages, bars and results as a notebook gets them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("IPython", reason="IPython is not installed")

from pathlib import Path

from pseudomask.cli.notebook import NotebookReporter
from pseudomask.exporting.result import ExportResult
from pseudomask.running.shown import Shown


class Front:
    """Stands in for the front end: the outputs, each in its last state."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, str]] = []

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool = False) -> Any:
        assert raw
        self.outputs.append(bundle)
        place, front = len(self.outputs) - 1, self

        class Handle:
            def update(self, bundle: dict[str, str], *, raw: bool) -> None:
                front.outputs[place] = bundle

        return Handle()


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Front:
    found = Front()
    monkeypatch.setattr("IPython.display.display", found.display)
    return found


def test_a_bar_is_one_output_that_ends_full(front: Front) -> None:
    reporter = NotebookReporter()
    with reporter.progress(3, "extracting <b>") as progress:
        for _ in range(3):
            progress.advance(loss=0.5)
    assert len(front.outputs) == 1
    html = front.outputs[0]["text/html"]
    assert 'max="3" value="3"' in html
    assert "extracting &lt;b&gt;: 3/3 images (100 %)" in html
    assert "loss 0.5" in front.outputs[0]["text/plain"]


def test_quiet_leaves_warnings(front: Front) -> None:
    reporter = NotebookReporter(quiet=True)
    reporter.info("hello")
    with reporter.progress(3, "extracting") as progress:
        progress.advance()
    reporter.warn("a <i>name</i>")
    assert [output["text/plain"] for output in front.outputs] == ["warning: a <i>name</i>"]
    assert "<i>" not in front.outputs[0]["text/html"]


def test_results_are_tables_without_markup_of_names() -> None:
    result = ExportResult(Path("<img src=x>"), "coco", ("cat",), splits={"train": 3})
    html = result._repr_html_()
    assert html.startswith("<table><tr>")
    assert "<img" not in html
    assert "&lt;img" in html


def test_every_result_has_one() -> None:
    from pseudomask import api

    results = [kind for name, kind in vars(api).items() if name.endswith("Result")]
    assert len(results) > 8
    assert all(issubclass(kind, Shown) for kind in results)
