"""Masks made with other settings: refused, or on request made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pseudomask.errors import RecordMismatch
from pseudomask.quoting import count
from pseudomask.running.comparison import Comparison
from pseudomask.running.own import Own
from pseudomask.running.record import RunRecord, check_resume, compare_records

# The verb stays what it was; whether a photo has tags is compared photo by photo.
_ALWAYS, _BY_PHOTO = "command", "tagged"


class Outdated:
    """How the settings of the run already in `out` differ from those of `own`.

    Attributes:
        allowed: whether they may differ (`--update`).
        differences: one phrase for each; empty if the masks hold.
    """

    def __init__(self, out: Path, own: Own, *, allowed: bool) -> None:
        self.out, self.own, self.allowed = out, own, allowed
        self.differences: Sequence[str] = ()

    def compare(self, old: RunRecord) -> None:
        """Note the differences to `old`. Raises `RecordMismatch` if there may be none."""
        fields, new = self.own.fields, self.own.record
        if not self.allowed:
            check_resume(old, new, fields, where=self.out, **self.own.rules)
            return
        check_resume(old, new, [_ALWAYS], where=self.out, **self.own.rules)
        by_folder = [name for name in fields if name != _BY_PHOTO]
        self.differences = compare_records(old, new, by_folder, **self.own.rules)

    def check(self, comparison: Comparison) -> None:
        """Raise `RecordMismatch` if masks to be remade are of photos outside this run, which would then have none."""
        if self.differences and comparison.others:
            raise RecordMismatch(
                f"{self.out} contains {count(comparison.others, 'mask')} of photos outside this run, made with other "
                f"settings: {'; '.join(self.differences)}",
                advice="leave out --list and --limit, so that --update remakes all, or choose another output folder",
            )
