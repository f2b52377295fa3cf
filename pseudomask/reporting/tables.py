"""A page of tables alone, in the looks of the other pages, and without a script."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from pseudomask.reporting.writer import asset, digest, environment
from pseudomask.running.atomic import atomic_text
from pseudomask.running.shown import Tables


def write_tables(path: Path, tables: Tables) -> None:
    """Write the page atomically. Raises `PseudomaskError` if it cannot be written."""
    style = asset("page.css")
    template = environment().get_template("tables.html")
    atomic_text(path, template.render(page=tables, style=Markup(style), style_hash=digest(style)))
