"""Write the page's file: templates filled piece by piece, then as many thumbnails as fit."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from pseudomask.masks import palette
from pseudomask.measuring.counting import in_order
from pseudomask.quoting import count, printable
from pseudomask.reporting import plots
from pseudomask.reporting.page import MOST_FAILURES, Page, percent, sorts
from pseudomask.reporting.panels import Panel, present
from pseudomask.reporting.urls import folder_url
from pseudomask.running.atomic import atomic_write

_CHUNK = 500  # rows per data island
_TAIL = 64  # bytes that follow the last thumbnail

MakeThumbs = Callable[[Panel], dict[str, str]]


@dataclass(frozen=True)
class Written:
    """The page: its file, its size in bytes, its number of images, and how many have thumbnails inside the file."""

    path: Path
    size: int
    images: int
    inside: int

    def line(self) -> str:
        total = count(self.images, "image")
        pictures = f"thumbnails of {self.inside:,} of {total} inside" if self.images else "no images"
        return f"{self.path} ({self.size / 1e6:.1f} MB, {pictures})"


def write_page(
    path: Path, page: Page, make_thumbs: MakeThumbs, *, budget: int, workers: int = 1, advance: Callable[[], None]
) -> Written:
    """Write `page` atomically, with thumbnails for its first panels while the file stays within `budget` bytes.

    Everything else (about 150 bytes per image) is written regardless of the budget. `advance` is called after each
    thumbnail. Raises `PseudomaskError` if the file cannot be written.
    """
    with atomic_write(path) as stream:
        out = _Counted(stream)
        thumbs = _Thumbs(page.panels, make_thumbs, out, budget - _TAIL, workers, advance)
        template = environment().get_template("page.html")
        at = page.folders
        folders = {"photo": at.photo, "scores": at.scores, "mask": at.mask, "truth": at.truth}
        # true masks drawn from a COCO file have no files to link to
        there = {kind: folder for kind, folder in folders.items() if folder is not None and folder.is_dir()}
        urls = {kind: folder_url(folder, path) for kind, folder in there.items()}
        for piece in template.generate(**_context(page, ["review.js"], folders=urls), thumbs=thumbs.islands()):
            out.write(piece)
    return Written(path, out.size, len(page.panels), thumbs.inside)


def served_page(page: Page, live: Mapping[str, object]) -> bytes:
    """`page` for a server, which draws the pictures and keeps what is said; `live` is what `live.js` reads."""
    context = _context(page, ["review.js", "live.js"], live=live)
    text = environment().get_template("page.html").render(**context, thumbs=())
    return text.encode("utf-8", "backslashreplace")


@dataclass
class _Counted:
    stream: BinaryIO
    size: int = 0

    def write(self, text: str) -> None:
        self.size += self.stream.write(text.encode("utf-8", "backslashreplace"))


@dataclass
class _Thumbs:
    """Data islands with thumbnails, in the panels' order, until one does not fit."""

    panels: Sequence[Panel]
    make: MakeThumbs
    out: _Counted
    budget: int
    workers: int
    advance: Callable[[], None]
    inside: int = 0

    def islands(self) -> Iterator[Markup]:
        if self.out.size >= self.budget:
            return
        made = in_order(self.make, self.panels, self.workers)
        try:
            for number, pictures in enumerate(made):
                island = Markup('<script type="application/json" id="t{}">{}</script>\n').format(
                    number, htmlsafe_json_dumps(pictures)
                )
                if self.out.size + len(island) > self.budget:
                    return
                self.inside += 1
                yield island
                self.advance()
        finally:
            made.close()


def _context(page: Page, scripts: Sequence[str], **meta: object) -> dict[str, object]:
    style, script = asset("page.css"), "".join(map(asset, [*scripts, "page.js"]))
    live = "live" in meta
    sources = "img-src 'self'; connect-src 'self'" if live else "img-src data: file: 'self'"
    return {
        "page": page,
        "live": live,
        "policy": Markup(
            f"default-src 'none'; {sources}; style-src '{digest(style)}'; script-src '{digest(script)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
        "style": Markup(style),
        "script": Markup(script),
        "sorts": sorts(page),
        "failures": page.failures[:MOST_FAILURES],
        "present": present(page.panels),
        "colours": _colours(page.names),
        "meta": _meta(page) | meta,
        "rows": _rows(page.panels),
        "curve": Markup(page.curve),
        "confusion": Markup(page.confusion),
    }


def _meta(page: Page) -> dict[str, object]:
    return {
        "names": [printable(name) for name in page.names],
        "colours": _colours(page.names),
        "truth": page.with_truth,
        "run": _run(page),
    }


def _run(page: Page) -> str:
    """Tells runs apart where a browser keeps verdicts: the same folder and settings have the same verdicts."""
    folder = "" if page.folders.mask is None else page.folders.mask.resolve()
    return hashlib.sha256(os.fsencode(folder) + b"\0" + page.config.encode("utf-8", "replace")).hexdigest()[:16]


def _colours(names: Sequence[str]) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(max(256, len(names)))[: len(names)].tolist()]


def _rows(panels: Sequence[Panel]) -> Iterator[list[object]]:
    for start in range(0, len(panels), _CHUNK):
        yield [panel.row() for panel in panels[start : start + _CHUNK]]


def _bar(iou: float, false_positive: float, false_negative: float) -> Markup:
    label = f"IoU {percent(iou)}, false positives {percent(false_positive)}, false negatives {percent(false_negative)}"
    parts = (("right", iou), ("extra", false_positive), ("missed", false_negative))
    return Markup(plots.stacked_bar(parts, label))


def digest(text: str) -> str:
    """The hash that names an inline style or script in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def environment() -> jinja2.Environment:
    """Jinja with the templates and filters of the pages."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("pseudomask.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(percent=percent, printable=printable, bar=_bar)
    return found


def asset(name: str) -> str:
    """A style or script of the pages."""
    return (Path(__file__).with_name("templates") / name).read_text("utf-8")
