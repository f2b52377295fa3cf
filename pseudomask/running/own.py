"""Whether a run's folder is still its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.errors import PseudomaskError, UsageError
from pseudomask.running.record import RunRecord, check_resume


@dataclass
class Own:
    """The record at `path` as that of a running run, to be looked at before each writing.

    Attributes:
        rules: what `check_resume` is given beside the two records.
    """

    path: Path
    record: RunRecord
    fields: Sequence[str]
    rules: dict[str, Any] = field(default_factory=dict)
    _seen: tuple[int, ...] = ()

    def check(self) -> None:
        """Raise `PseudomaskError` where the record is gone, or another run's: then its folder is another run's too."""
        try:
            facts = self.path.stat()
            seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if seen == self._seen:
                return
            now = RunRecord.read(self.path)
            if now is not None:
                check_resume(now, self.record, self.fields, **self.rules)
                self._seen = seen
                return
        except (OSError, UsageError):
            pass
        raise PseudomaskError(
            f"{self.path} was removed or belongs to another run; this run stops and writes nothing more"
        )
