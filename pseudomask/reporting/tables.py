"""A page of tables alone, in the looks of the other pages, and without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from pseudomask.reporting.writer import asset, digest, environment
from pseudomask.running.atomic import atomic_text


@dataclass(frozen=True)
class Section:
    """A table with its heading."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_tables(path: Path, title: str, sections: Sequence[Section], *, warnings: Sequence[str] = ()) -> None:
    """Write the page atomically. Raises `PseudomaskError` if it cannot be written."""
    style = asset("page.css")
    template = environment().get_template("tables.html")
    text = template.render(
        title=title, sections=sections, warnings=warnings, style=Markup(style), style_hash=digest(style)
    )
    atomic_text(path, text)
