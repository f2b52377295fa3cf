"""What `run` returns, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.chain.record import Entry
from pseudomask.chain.results import short
from pseudomask.quoting import duration
from pseudomask.running.shown import Shown, Tables


@dataclass
class RunResult(Shown):
    """The result of a chain.

    Attributes:
        out: the folder for its outputs.
        steps: as in chain.json: step, status (done, skipped, failed, stopped, waiting; after a dry run what would
            happen), why, seconds, place, results, config.
        exit_code: 0, that of the step that failed, or 130/143 after a signal.
        document: the content of chain.json.
        lines: evaluations beside published numbers, and their spread over seeds.
        shown: what its page shows; None after a dry run.
    """

    out: Path
    steps: list[Entry]
    exit_code: int = 0
    dry: bool = False
    document: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    shown: Tables | None = None

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Step, status, time, result and output of each step, for people."""
        return [
            (
                entry["step"],
                entry["status"],
                duration(entry["seconds"]) if entry["seconds"] else "",
                short(entry["results"]),
                entry["place"],
            )
            for entry in self.steps
        ]

    def summary(self) -> list[tuple[str, str]]:
        return [(row[0], ", ".join(word for word in row[1:] if word)) for row in self.rows()]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows, without empty columns; outputs are relative to `out`."""
        rows = [(*row[:-1], _below(row[-1], self.out)) for row in self.rows()]
        header = ("step", "what", "time", "result", f"below {self.out}")
        keep = [i for i in range(len(header)) if any(row[i] for row in rows)]
        return [header[i] for i in keep], [[row[i] for i in keep] for row in rows]

    def notes(self) -> list[str]:
        """After a dry run, the reasons why steps would be redone; else the comparisons."""
        return [*self.lines, *(f"{entry['step']}: {entry['why']}" for entry in self.steps if entry["why"] and self.dry)]

    def to_json(self) -> dict[str, Any]:
        return self.document


def _below(output: str, out: Path) -> str:
    path = Path(output)
    return str(path.relative_to(out)) if path.is_relative_to(out) else output
