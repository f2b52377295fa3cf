"""A run that fills an output folder image by image: record, manifest, what is done, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pseudomask.running.atomic import sweep_leftovers
from pseudomask.running.layout import MANIFEST, RECORD, Outputs, check_foreign
from pseudomask.running.manifest import Entry, Manifest
from pseudomask.running.record import RunRecord, check_resume, peak_memory

DONE, FAILED = "done", "failed"


class FolderRun:
    """Opens `out` for `record`, or resumes the run that is there if it was made with the same settings.

    Raises `RecordMismatch` (settings differ) or `CollisionError` (foreign files in the way) before
    anything is written; `overwrite` starts anew.
    """

    def __init__(
        self, out: Path, record: RunRecord, outputs: Sequence[Outputs], *, fields: Sequence[str], overwrite: bool
    ) -> None:
        self.out, self.record, self.outputs = out, record, list(outputs)
        self.manifest = Manifest(out / MANIFEST)
        old = None if overwrite else RunRecord.read(out / RECORD)
        if old is not None:
            check_resume(old, record, fields, where=out)
        elif not overwrite:
            check_foreign(self.outputs)
        if overwrite:
            (out / MANIFEST).unlink(missing_ok=True)
        self.entries: dict[str, Entry] = self.manifest.load()
        record.write(out / RECORD)
        sweep_leftovers(out)

    def pending(self, *, with_scores: bool, with_overlays: bool = False) -> list[int]:
        """Positions of the images that lack one of their files; failed ones are tried again."""
        return [i for i, one in enumerate(self.outputs) if not self._is_done(one, with_scores, with_overlays)]

    def _is_done(self, one: Outputs, with_scores: bool, with_overlays: bool) -> bool:
        if self.entries.get(one.key, {}).get("status") != DONE:
            return False
        wanted = [one.mask, *([one.scores] if with_scores else []), *([one.overlay] if with_overlays else [])]
        return all(path.exists() for path in wanted)

    def note(self, entry: Entry) -> None:
        """Record one image; call it when its files are in place."""
        self.manifest.append(entry)
        self.entries[entry["key"]] = entry

    def count(self, status: str) -> int:
        """How many images of this run have that status."""
        return sum(self.entries.get(one.key, {}).get("status") == status for one in self.outputs)

    def finish(self, timings: dict[str, float], protocol: dict[str, Any] | None = None) -> None:
        """Put the manifest in the images' order and complete the record."""
        self.manifest.compact([one.key for one in self.outputs])
        self.record.timings |= {k: round(v, 3) for k, v in timings.items()}
        self.record.peak_memory = peak_memory()
        if protocol:
            self.record.protocol |= protocol
        self.record.write(self.out / RECORD)
