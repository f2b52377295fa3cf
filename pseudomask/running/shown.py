"""How results show themselves: in a notebook, and as the tables of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

from pseudomask.quoting import printable
from pseudomask.running.reporter import Bad


class _Summarised(Protocol):
    def summary(self) -> Sequence[tuple[str, str]]: ...


class Shown:
    """A base of results: Jupyter shows their summary as a table."""

    def _repr_html_(self: _Summarised) -> str:
        rows = []
        for label, value in self.summary():
            red = ' style="color: #c00"' if isinstance(value, Bad) else ""
            text = escape(printable(str(value)))
            rows.append(f'<tr><th style="text-align: left">{escape(label)}</th><td{red}>{text}</td></tr>')
        return f"<table>{''.join(rows)}</table>"


@dataclass(frozen=True)
class Section:
    """A table with its heading."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Tables:
    """A page of tables alone."""

    title: str
    sections: Sequence[Section]
    warnings: Sequence[str] = ()
