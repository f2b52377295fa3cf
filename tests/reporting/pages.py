"""Pages for tests: drawn pictures, and a reader of what was written."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from pseudomask.masks import save_mask, save_picture
from pseudomask.measuring.reports import ClassRow
from pseudomask.reporting.page import Page
from pseudomask.reporting.panels import Folders, Indicators, Panel

HOSTILE = '</script><img src=x onerror="document.title=1">\u2028&amp;{{7*7}}'


class Reader(HTMLParser):
    """The tags of a page, and the text of its data islands by id (the rows' are joined)."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.islands: dict[str, Any] = {}
        self.rows: list[list[Any]] = []
        self.text = ""
        self._island: dict[str, str | None] | None = None
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._island = dict(attrs) if tag == "script" and ("type", "application/json") in attrs else None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._island is None:
            return
        if self._island.get("class") == "rows":
            self.rows += json.loads(data)
        else:
            self.islands[str(self._island["id"])] = json.loads(data)
        self._island = None

    @property
    def thumbs(self) -> list[str]:
        return [name for name in self.islands if name != "meta"]


def made_page(count: int, **more: Any) -> Page:
    """A page of `count` images whose IoU rises with their number; every third has class 2."""
    panels = [
        Panel(
            key=f"photo {number:05d}",
            classes=(0, 1, 2) if number % 3 == 0 else (0, 1),
            ious=(0.9, number / count, 0.5) if number % 3 == 0 else (0.9, number / count),
            iou=number / count,
            signs=Indicators((2,) if number % 5 == 0 else (), 1 - number / count, 0.0, (number * 7 % count) / count),
        )
        for number in range(count)
    ]
    given: dict[str, Any] = {
        "title": "masks against truth",
        "hero": ("mean IoU", "50.0"),
        "with_truth": True,
        "names": ("background", "cat", "dog"),
        "classes": [ClassRow(1, "cat", 0.5, 0.6, 0.7, 0.3, 0.2, 100, 100, True)],
        "panels": panels,
    }
    return Page(**given | more)


def drawn_files(folder: Path, keys: list[str]) -> Folders:
    """Photos, masks and truths of these keys; the mask is a square that is too small."""
    rng = np.random.default_rng(0)
    for key in keys:
        truth = np.zeros((48, 64), np.uint8)
        truth[8:40, 8:40] = 1
        mask = truth.copy()
        mask[:20] = 0
        save_picture(folder / "photos" / f"{key}.jpg", rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
        save_mask(folder / "masks" / f"{key}.png", mask)
        save_mask(folder / "truth" / f"{key}.png", truth)
    return Folders(photo=folder / "photos", mask=folder / "masks", truth=folder / "truth")
