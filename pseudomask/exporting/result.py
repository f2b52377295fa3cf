"""The result of `export`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.quoting import count
from pseudomask.running.jsonable import json_object
from pseudomask.running.reporter import Bad
from pseudomask.running.shown import Shown


@dataclass
class ExportResult(Shown):
    """The result of `export`.

    Attributes:
        splits: number of photos by list; `photos`: by how they were written (copied, hard-linked, linked, rewritten);
            `rewritten`: by the reason.
        failures: reason by photo, for masks that could not be exported; `left_out`: for photos without a mask in
            OUT, or left out by --review; `reviewed`: what the latter did, in words.
        lost: what the format cannot represent; `paste`: the lines for a trainer's config.
        exit_code: 0; 1 if more masks failed than `max_failures`; 130 or 143 after a signal.
    """

    dest: Path
    format: str
    classes: tuple[str, ...]
    splits: dict[str, int] = field(default_factory=dict)
    photos: dict[str, int] = field(default_factory=dict)
    rewritten: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    reviewed: str = ""
    lost: list[str] = field(default_factory=list)
    paste: str = ""
    exit_code: int = 0

    def summary(self) -> list[tuple[str, str]]:
        if not self.splits:
            return [("exported", "nothing")]
        lists = ", ".join(f"{n} {name}" for name, n in self.splits.items())
        rows = [("exported", f"{count(sum(self.splits.values()), 'mask')} as {self.format} ({lists})")]
        for label, kind, reasons in (("failed", Bad, self.failures), ("left out", str, self.left_out)):
            if reasons:
                name, reason = next(iter(reasons.items()))
                rows.append((label, kind(f"{len(reasons)} (first: {name}: {reason})")))
        if self.reviewed:
            rows.append(("review", self.reviewed))
        for label, counts in (("photos", self.photos), ("rewritten", self.rewritten)):
            if counts:
                rows.append((label, ", ".join(f"{n} {what}" for what, n in counts.items())))
        rows += [("note", line) for line in self.lost]
        return [*rows, ("where", str(self.dest))]

    def notes(self) -> list[str]:
        """The lines to paste into a trainer's config."""
        return self.paste.split("\n") if self.paste else []

    def to_json(self) -> dict[str, Any]:
        return json_object({"schema": 1, **self.__dict__})
