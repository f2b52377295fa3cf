"""Check that an output folder still belongs to the current run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.errors import PseudomaskError, UsageError
from pseudomask.running.record import RunRecord, check_resume


@dataclass
class Own:
    """The current run's record at `path`, to be checked before each write.

    Attributes:
        rules: further arguments for `check_resume`.
    """

    path: Path
    record: RunRecord
    fields: Sequence[str]
    rules: dict[str, Any] = field(default_factory=dict)
    _seen: tuple[int, ...] = ()

    def check(self) -> None:
        """Raise `PseudomaskError` if the record is gone or belongs to another run."""
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
