"""A run that fills an output folder image by image: its record, its manifest and the work left to do."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pseudomask.errors import CollisionError, UsageError
from pseudomask.running.atomic import sweep_leftovers
from pseudomask.running.comparison import Comparison, compare
from pseudomask.running.holder import Holder, hold
from pseudomask.running.inputs import Inputs
from pseudomask.running.layout import MANIFEST, RECORD, Outputs, check_foreign, files_below, is_below
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE, FAILED, Entry, Manifest
from pseudomask.running.outdated import Outdated
from pseudomask.running.own import Own
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, peak_memory
from pseudomask.running.signals import Stop

CHANGED = "the photo, its tags, its seed or the settings changed since its mask was made; run the same command again"


class FolderRun:
    """A run with `record` in `out`; resumes the run already there if its settings are the same.

    Raises `RecordMismatch` (a value of `fields` differs) or `CollisionError` (foreign files in the way). Nothing is
    written before `start`. `overwrite` starts over; `update` accepts a run with other settings and remakes its masks
    (`Outdated`). With several processes (`ranks`), each records its own images and the first one does the rest.
    """

    def __init__(
        self,
        out: Path,
        record: RunRecord,
        outputs: Sequence[Outputs],
        *,
        fields: Sequence[str],
        overwrite: bool,
        inputs: Inputs | None = None,
        prune: bool = False,
        update: bool = False,
        defaults: Mapping[str, Any] | None = None,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        self.out, self.record, self.outputs = out, record, list(outputs)
        self.team = ranks()
        self.overwrite = self.team.anew(overwrite)
        self.manifest = Manifest(out / MANIFEST, apart=not self.team.alone)
        self.own = Own(out / RECORD, record, fields, {"defaults": defaults, "earlier": earlier})
        self.holder: Holder | None = None
        self.outdated = Outdated(out, self.own, allowed=update)
        self.entries: dict[str, Entry] = {}
        self.comparison = Comparison()
        told = self.team.by_first(lambda: self._look(inputs, prune))
        if not self.team.first:
            self.comparison = Comparison(**told)

    def _look(self, inputs: Inputs | None, prune: bool) -> dict[str, Any]:
        """Find what is in the folder, and whether it may be resumed; return what the other processes need to know."""
        old = None if self.overwrite else self._old_record()
        if old is not None:
            self.outdated.compare(old)
            self.record.timings = dict(old.timings)
        self.entries = {} if self.overwrite else self._read_entries()
        if inputs is not None and self.entries:
            self.comparison = compare(
                MadeFolder(self.out),
                self.entries,
                inputs,
                own={one.key for one in self.outputs},
                prune=prune,
                settings=self.outdated.differences,
            )
            self.outdated.check(self.comparison)
        return {"gone": self.comparison.gone, "changed": self.comparison.changed}

    def _read_entries(self) -> dict[str, Entry]:
        """The parts of the manifest's entries that a run needs."""
        return {entry["key"]: brief(entry) for entry in MadeFolder(self.out).lines()}

    def _old_record(self) -> RunRecord | None:
        """The record of the run already in the folder; None means that no file is in the way."""
        old = MadeFolder(self.out).record
        if old is None:
            try:
                check_foreign(self.outputs)
            except CollisionError:
                # A process started at the same time may have written its record, and masks, in the meantime.
                old = MadeFolder(self.out).record
                if old is None:
                    raise
        return old

    def start(self, stop: Stop | None = None) -> None:
        """Write the record; with `overwrite`, remove the earlier run's files first.

        From now until `close`, only processes of this run may write to the folder.
        """
        if self.team.first:
            self.holder = hold(self.out, share=not (self.overwrite or self.outdated.differences))
            self._begin()
            self.holder.share()
            self.own.check()  # another run may have started in the meantime
        self.team.wait(stop)
        if not self.team.first:
            self.holder = hold(self.out, share=True)

    def _begin(self) -> None:
        if self.overwrite:
            self._remove_old()
        else:
            old = self._old_record()  # another run may have started in the meantime
            if old is not None:
                self.outdated.compare(old)
        if self.outdated.differences:
            # Before the new record: wherever this run is killed, no mask of the old settings counts as one of the new.
            self._discard_outdated()
        self.manifest.merge()  # of a killed job
        self.record.write(self.out / RECORD)
        if not self.outdated.differences:
            self._discard_outdated()

    def close(self) -> None:
        """Release the folder."""
        self.manifest.close()
        if self.holder is not None:
            self.holder.release()
            self.holder = None

    def _discard_outdated(self) -> None:
        """Remove masks whose photos no longer exist, and mark those whose photos changed as failed."""
        if self.comparison.gone:
            self._remove(self.comparison.gone)
            self.manifest.compact([], drop=self.comparison.gone)
        # Mark all of them before remaking the first, so that no old mask counts as new wherever this run stops.
        whole = Manifest(self.manifest.path)  # a part may be read after another process's new lines
        for key, image in self.comparison.changed.items():
            whole.append({"key": key, "image": image, "status": FAILED, "reason": CHANGED})
        if self.outdated.differences:
            self._remove(self.comparison.changed)  # scores and overlays that the new settings do not write

    def _remove_old(self) -> None:
        """Remove the earlier run's files; otherwise masks of photos outside this run would mix with the new ones."""
        with suppress(UsageError):  # an unreadable manifest names no files
            self._remove(self.manifest.load())
        self.manifest.remove()

    def _remove(self, keys: Iterable[str]) -> None:
        """Remove the files of these images, ignoring names that lead out of this folder."""
        for key in keys:
            if not is_below(key):
                continue
            one = Outputs(key, self.out)
            for path in (one.mask, one.scores, one.overlay):
                with suppress(OSError):
                    path.unlink()

    def pending(self, *, with_scores: bool, with_overlays: bool = False) -> list[int]:
        """Positions of the images with a missing output file; failed images are tried again."""

        def missing() -> list[int]:
            # One listing: asking for each file would take minutes on a network's file system.
            there = files_below(self.out) if self.entries else frozenset[str]()
            return [
                i for i, one in enumerate(self.outputs) if not self._is_done(one, there, with_scores, with_overlays)
            ]

        return list(self.team.by_first(missing))

    def _is_done(self, one: Outputs, there: Container[str], with_scores: bool, with_overlays: bool) -> bool:
        entry = self.entries.get(one.key, {})
        if entry.get("status") != DONE or "unrefined" in entry or one.key in self.comparison.changed:
            return False
        wanted = [one.mask, *([one.scores] if with_scores else []), *([one.overlay] if with_overlays else [])]
        return all(str(path) in there for path in wanted)

    def note(self, entry: Entry) -> None:
        """Record one image once its files are in place. If a changed photo failed, remove its old files."""
        self.own.check()
        key = entry["key"]
        if entry["status"] == FAILED and key in self.comparison.changed:
            self._remove([key])
        self.manifest.append(entry)
        self.entries[key] = brief(entry)

    def count(self, status: str) -> int:
        """Number of images in this run with this status."""
        return sum(entry.get("status") == status for entry in self._own_entries())

    def failures(self) -> dict[str, str]:
        """Reason by image, for images in this run without a mask."""
        return {entry["image"]: entry["reason"] for entry in self._own_entries() if entry.get("status") == FAILED}

    def unrefined(self) -> dict[str, str]:
        """Reason by image, for images in this run whose refinement failed."""
        return {entry["image"]: entry["unrefined"] for entry in self._own_entries() if "unrefined" in entry}

    def _own_entries(self) -> Iterator[Entry]:
        return (self.entries.get(one.key, {}) for one in self.outputs)

    def wait(self, stop: Stop, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Close this process's part of the manifest; wait until all have, or `stop` is requested."""
        self.manifest.close()
        self.team.wait(stop, meanwhile)
        if not stop.requested:
            meanwhile()

    def finish(self, timings: dict[str, float], stop: Stop | None = None) -> None:
        """Sort the manifest by image order and complete the record; times of resumed runs add up."""
        told = self.team.by_first(lambda: self._complete(timings), stop)
        if told is not None and not self.team.first:  # else it was stopped, and knows only its own
            left = set(told["left"])
            self.entries = {one.key: _BRIEF_DONE for i, one in enumerate(self.outputs) if i not in left}
            self.entries |= told["odd"]
        if self.team.first and not (stop and stop.requested):
            sweep_leftovers(self.out)  # last, as nobody waits for it

    def _complete(self, timings: dict[str, float]) -> dict[str, Any]:
        """Complete the folder; return what the other processes need to know of each other's entries."""
        self.own.check()
        self.manifest.compact([one.key for one in self.outputs])
        if not self.team.alone:
            self.entries = self._read_entries()  # include those of the other processes
        if "images" in self.record.protocol:
            self.record.protocol["images"] = len(self.entries)  # all in the folder, including those outside this run
        before = self.record.timings
        self.record.timings = before | {k: round(before.get(k, 0.0) + v, 3) for k, v in timings.items()}
        self.record.peak_memory = peak_memory()
        self.record.write(self.out / RECORD)
        if self.team.alone:
            return {}
        odd = {key: entry for key, entry in self.entries.items() if entry != _BRIEF_DONE}
        return {"odd": odd, "left": [i for i, one in enumerate(self.outputs) if one.key not in self.entries]}


_BRIEF_DONE: Entry = {"status": DONE}


def brief(entry: Entry) -> Entry:
    """The status, plus name and reason for an image that failed or was not refined.

    The rest of the line is dropped to save memory in runs over 100,000 images.
    """
    if entry.get("status") == DONE and "unrefined" not in entry:
        return _BRIEF_DONE
    return {name: entry[name] for name in ("status", "image", "reason", "unrefined") if name in entry}
