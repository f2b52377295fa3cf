"""A run that fills an output folder image by image: record, manifest, what is done, what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from pseudomask.errors import CollisionError, UsageError
from pseudomask.running.atomic import sweep_leftovers
from pseudomask.running.layout import MANIFEST, RECORD, Outputs, check_foreign
from pseudomask.running.manifest import Entry, Manifest
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, check_resume, peak_memory

DONE, FAILED = "done", "failed"


class FolderRun:
    """A run of `record` in `out`, or the one that is there taken up again if its settings are the same.

    Raises `RecordMismatch` (a value of `fields` differs) or `CollisionError` (foreign files in the way).
    Nothing is written before `start`. With `overwrite` the run begins anew. Of several processes (`ranks`) each notes
    its own images, and the first does the rest.
    """

    def __init__(
        self,
        out: Path,
        record: RunRecord,
        outputs: Sequence[Outputs],
        *,
        fields: Sequence[str],
        overwrite: bool,
        defaults: Mapping[str, Any] | None = None,
        earlier: Mapping[str, str] | None = None,
    ) -> None:
        self.out, self.record, self.outputs = out, record, list(outputs)
        self.job = ranks()
        self.overwrite = self.job.anew(overwrite)
        self.manifest = Manifest(out / MANIFEST)
        old = None if self.overwrite else self._recorded()
        if old is not None:
            check_resume(old, record, fields, where=out, defaults=defaults, earlier=earlier)
            record.timings = dict(old.timings)
        self.entries: dict[str, Entry] = {} if self.overwrite else self._known()

    def _known(self) -> dict[str, Entry]:
        """What the manifest tells of each image, as much of it as a run needs."""
        return {entry["key"]: brief(entry) for entry in self.manifest.lines()}

    def _recorded(self) -> RunRecord | None:
        """The record of the run that is there; None, and no file in the way, where there is none."""
        old = RunRecord.read(self.out / RECORD)
        if old is None:
            try:
                check_foreign(self.outputs)
            except CollisionError:
                # A process started together with this one may have begun since: its record stands before its masks.
                old = RunRecord.read(self.out / RECORD)
                if old is None:
                    raise
        return old

    def start(self) -> None:
        """The first writing: the record. With `overwrite` the files of the run before are removed first."""
        if not self.job.first:
            return
        if self.overwrite:
            self._remove_old()
        self.record.write(self.out / RECORD)
        sweep_leftovers(self.out)

    def _remove_old(self) -> None:
        """Else masks made with other settings, of photos that are not asked for now, would stay among the new."""
        with suppress(UsageError):  # a manifest that cannot be read tells of no files
            for key in self.manifest.load():
                name = PurePosixPath(key)
                if name.is_absolute() or ".." in name.parts:
                    continue
                one = Outputs(key, self.out)
                for path in (one.mask, one.scores, one.overlay):
                    with suppress(OSError):
                        path.unlink()
        self.manifest.path.unlink(missing_ok=True)

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
        self.entries[entry["key"]] = brief(entry)

    def count(self, status: str) -> int:
        """How many images of this run have that status."""
        return sum(self.entries.get(one.key, {}).get("status") == status for one in self.outputs)

    def empty(self) -> int:
        """How many images of this run have a tag without a pixel."""
        return sum("empty" in self.entries.get(one.key, {}) for one in self.outputs)

    def finish(self, timings: dict[str, float]) -> None:
        """Put the manifest in the images' order and complete the record; seconds of resumed runs add up."""
        if not self.job.alone:
            self.entries = self._known()  # what the others noted
        if not self.job.first:
            return
        self.manifest.compact([one.key for one in self.outputs])
        before = self.record.timings
        self.record.timings = before | {k: round(before.get(k, 0.0) + v, 3) for k, v in timings.items()}
        self.record.peak_memory = peak_memory()
        self.record.write(self.out / RECORD)


_BRIEF_DONE: Entry = {"status": DONE}
_BRIEF_EMPTY: Entry = {"status": DONE, "empty": True}


def brief(entry: Entry) -> Entry:
    """Status, whether a tag has no pixel, and of a failed image its name and reason.

    A run over 100,000 images keeps no more of each line.
    """
    if entry.get("status") == DONE:
        return _BRIEF_EMPTY if entry.get("empty") else _BRIEF_DONE
    return {name: entry[name] for name in ("status", "image", "reason") if name in entry}
