"""What `export` gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.running.jsonable import jsonable
from pseudomask.running.reporter import Bad


@dataclass(kw_only=True)
class ExportResult:
    """What `export` did.

    Attributes:
        splits: photos in each list; photos: what became of their files (copied, hard-linked, linked, rewritten);
            rewritten: how many for which reason.
        failures: reason by photo, for masks that could not be exported; left_out: for photos that OUT has no mask of.
        lost: what the format had no room for; paste: the lines for a trainer's config.
        exit_code: 0; 1 where more masks failed than `max_failures`; 130 or 143 after a signal.
    """

    dest: Path
    format: str
    classes: tuple[str, ...]
    splits: dict[str, int] = field(default_factory=dict)
    photos: dict[str, int] = field(default_factory=dict)
    rewritten: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    paste: str = ""
    exit_code: int = 0

    def summary(self) -> list[tuple[str, str]]:
        if not self.splits:
            return [("exported", "nothing")]
        lists = ", ".join(f"{count} {name}" for name, count in self.splits.items())
        rows = [("exported", f"{sum(self.splits.values())} masks as {self.format} ({lists})")]
        for label, kind, reasons in (("failed", Bad, self.failures), ("left out", str, self.left_out)):
            if reasons:
                name, reason = next(iter(reasons.items()))
                rows.append((label, kind(f"{len(reasons)} (first: {name}: {reason})")))
        if self.photos:
            rows.append(("photos", ", ".join(f"{count} {what}" for what, count in self.photos.items())))
        if self.rewritten:
            rows.append(("rewritten", ", ".join(f"{count} {why}" for why, count in self.rewritten.items())))
        rows += [("note", line) for line in self.lost]
        return [*rows, ("where", str(self.dest))]

    def notes(self) -> list[str]:
        """The lines to paste into a trainer's config."""
        return self.paste.split("\n") if self.paste else []

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable({"schema": 1, **self.__dict__})
        return plain
