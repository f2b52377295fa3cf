"""The verb `review`: the page of masks in a browser of this machine, until Ctrl-C."""

from __future__ import annotations

import re
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pseudomask.config import ReviewConfig
from pseudomask.errors import PseudomaskError, UsageError
from pseudomask.quoting import count
from pseudomask.reporting.writer import served_page
from pseudomask.reviewing.pictures import KINDS, picture
from pseudomask.reviewing.server import Answer, Server, as_json, plain
from pseudomask.reviewing.session import Session, Stale
from pseudomask.reviewing.verdicts import FILE
from pseudomask.running.holder import holding
from pseudomask.running.jsonable import json_object
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.shown import Shown
from pseudomask.running.signals import graceful

LOCK = ".pseudomask-review.lock"
_POLL = 0.1  # seconds between two looks whether to stop
_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" rx="2" fill="#2f55d4"/>'
    b'<path d="M2 4.2l1.4 1.4L6 2.6" fill="none" stroke="#fff"/></svg>'
)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class ReviewResult(Shown):
    """What a review left: masks by verdict ("good", "bad", "unsure", "left" for none, "marked" for new tags).

    Attributes:
        file: the table of verdicts.
        again: commands that make the masks of changed tags again; empty if no tag has changed.
    """

    file: Path
    counts: dict[str, int]
    again: tuple[str, ...]
    exit_code: int = 0

    def summary(self) -> list[tuple[str, str]]:
        found = dict(self.counts)
        marked, left = found.pop("marked"), found.pop("left")
        told = ", ".join(f"{n:,} {verdict}" for verdict, n in found.items())
        rows = [("reviewed", f"{told}, {left:,} to do ({self.file})")]
        if marked:
            rows.append((f"{count(marked, 'photo')} to extract again", " && ".join(self.again)))
        return rows

    def to_json(self) -> dict[str, Any]:
        return json_object({"schema": 1, **self.__dict__})


def review(config: ReviewConfig, reporter: Reporter | None = None) -> ReviewResult:
    """Serve the page of a folder of masks on 127.0.0.1 until SIGINT or SIGTERM (see `ReviewConfig`).

    Raises `UsageError` if there is no mask or the port is taken, `FolderInUse` if the folder is being reviewed
    already, and `PseudomaskError` if it cannot be written to.
    """
    reporter = reporter or SilentReporter()
    with graceful() as stop, serving(config, reporter) as (server, session):
        getattr(reporter, "data", reporter.info)(server.url)
        reporter.info(f"verdicts are kept in {config.out / FILE} as you make them; Ctrl-C ends the review")
        if config.open and not webbrowser.open(server.url):
            reporter.warn("no browser could be opened; open the address above")
        while not stop.requested:
            time.sleep(_POLL)
    ended = 0 if stop.signal is None or stop.exit_code == 130 else stop.exit_code  # Ctrl-C is how a review ends
    return ReviewResult(config.out / FILE, session.counts(), tuple(session.again), ended)


@contextmanager
def serving(config: ReviewConfig, reporter: Reporter) -> Iterator[tuple[Server, Session]]:
    """Within the block, the server answers, and nobody else reviews this folder. Raises as `review` does."""
    session = Session(config.out, config.images)
    for problem in session.page.warnings:
        reporter.warn(problem)
    with holding(config.out, name=LOCK):
        desk = Desk(session, reporter)
        server = Server(config.port, desk.get, desk.post)
        with server.running():
            yield server, session


class Desk:
    """Answers requests about a session."""

    def __init__(self, session: Session, reporter: Reporter) -> None:
        self.session, self.reporter = session, reporter
        self._told: tuple[str, ...] = ()

    def get(self, path: str, query: str) -> Answer:
        """The page, its state, or a picture by its number."""
        try:
            if path == "":
                self.session.read()
                page, live = self.session.live()
                return Answer(200, "text/html; charset=utf-8", served_page(page, live))
            if path == "icon":
                return Answer(200, "image/svg+xml", _ICON)
            if path == "state":
                return as_json(200, self.session.state())
            kind, _, number = path.partition("/")
            if kind in KINDS and _NUMBER.fullmatch(number):
                found = picture(self.session, kind, int(number), _threshold(query))
                return Answer(200, f"image/{found.kind}", found.data)
        except (PseudomaskError, OSError) as error:
            return plain(404 if path else 500, str(error))
        return plain(404, "there is nothing here")

    def post(self, path: str, content: Any) -> Answer:
        """A change of one mask's verdict, note or tags."""
        session = self.session
        if path != "say":
            return as_json(404, {"error": "there is nothing here"})
        known = {"photo", "seen", "verdict", "note", "tags"}
        if not isinstance(content, dict) or not {"photo", "seen"} <= {*content} <= known:
            return as_json(400, {"error": "an object with photo, seen, and verdict, note or tags expected"})
        number, seen = content.pop("photo"), content.pop("seen")
        if type(number) is not int or type(seen) is not int or number not in session.panels:
            return as_json(400, {"error": "no such mask"})
        status, more = 200, {}
        try:
            session.say(number, seen, content)
        except Stale:
            status = 409
        except UsageError as error:
            status, more = 422, {"error": str(error)}
        except (PseudomaskError, OSError) as error:
            status, more = 500, {"error": str(error)}
        self._tell(content)
        return as_json(status, {**more, "rows": {number: session.row(number)}, "again": session.again})

    def _tell(self, content: Any) -> None:
        again = tuple(self.session.again)
        if "tags" in content and again != self._told:
            self._told = again
            if again:
                self.reporter.info(f"tags have changed; to make those masks again: {' && '.join(again)}")


def _threshold(query: str) -> float | None:
    """`above=0.35`; anything else is no threshold."""
    value = dict(parse_qsl(query, max_num_fields=4)).get("above", "") if len(query) < 100 else ""
    return float(value) if re.fullmatch(r"[01](\.[0-9]{1,4})?", value) and float(value) <= 1 else None
