"""A run that fills an output folder image by image: record, manifest, what is done, what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pseudomask.errors import CollisionError, UsageError
from pseudomask.running.atomic import sweep_leftovers
from pseudomask.running.comparison import Comparison, compare
from pseudomask.running.holder import Holder, hold
from pseudomask.running.inputs import Inputs
from pseudomask.running.layout import MANIFEST, RECORD, Outputs, check_foreign, is_below
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE, FAILED, Entry, Manifest
from pseudomask.running.own import Own
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord, check_resume, peak_memory
from pseudomask.running.signals import Stop

CHANGED = "the photo, its tags or its seed changed since its mask was made; run the same command again"


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
        inputs: Inputs | None = None,
        prune: bool = False,
        defaults: Mapping[str, Any] | None = None,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        self.out, self.record, self.outputs = out, record, list(outputs)
        self.team = ranks()
        self.overwrite = self.team.anew(overwrite)
        self.manifest = Manifest(out / MANIFEST)
        self.own = Own(out / RECORD, record, fields, {"defaults": defaults, "earlier": earlier})
        self.holder: Holder | None = None
        old = None if self.overwrite else self._recorded()
        if old is not None:
            check_resume(old, record, fields, where=out, **self.own.rules)
            record.timings = dict(old.timings)
        self.entries: dict[str, Entry] = {} if self.overwrite else self._known()
        self.comparison = Comparison()
        if inputs is not None and self.entries:
            self.comparison = compare(
                MadeFolder(out), self.entries, inputs, own={one.key for one in outputs}, prune=prune
            )

    def _known(self) -> dict[str, Entry]:
        """What the manifest tells of each image, as much of it as a run needs."""
        return {entry["key"]: brief(entry) for entry in MadeFolder(self.out).lines()}

    def _recorded(self) -> RunRecord | None:
        """The record of the run that is there; None, and no file in the way, where there is none."""
        old = MadeFolder(self.out).record
        if old is None:
            try:
                check_foreign(self.outputs)
            except CollisionError:
                # A process started together with this one may have begun since: its record stands before its masks.
                old = MadeFolder(self.out).record
                if old is None:
                    raise
        return old

    def start(self, stop: Stop | None = None) -> None:
        """The first writing: the record. With `overwrite` the files of the run before are removed first.

        From here until `close` no other run may fill the folder, only other processes of this one.
        """
        if self.team.first:
            self.holder = hold(self.out, share=not self.overwrite)
            self._begin()
            self.holder.share()
            self.own.check()  # somebody may have come in between
        self.team.wait(stop)
        if not self.team.first:
            self.holder = hold(self.out, share=True)

    def _begin(self) -> None:
        if self.overwrite:
            self._remove_old()
        else:
            old = self._recorded()  # since the first look another run may have begun
            if old is not None:
                check_resume(old, self.record, self.own.fields, where=self.out, **self.own.rules)
        self.record.write(self.out / RECORD)
        sweep_leftovers(self.out)
        self._settle()

    def close(self) -> None:
        """Let others into the folder."""
        if self.holder is not None:
            self.holder.release()
            self.holder = None

    def _settle(self) -> None:
        """Masks of photos that are gone go; those of changed photos count as missing from here on."""
        if self.comparison.gone:
            self._remove(self.comparison.gone)
            self.manifest.compact([], drop=self.comparison.gone)
        # Said before the first of them is made again: wherever this run stops, no old mask passes for a new one.
        for key, image in self.comparison.changed.items():
            self.manifest.append({"key": key, "image": image, "status": FAILED, "reason": CHANGED})

    def _remove_old(self) -> None:
        """Else masks made with other settings, of photos that are not asked for now, would stay among the new."""
        with suppress(UsageError):  # a manifest that cannot be read tells of no files
            self._remove(self.manifest.load())
        self.manifest.path.unlink(missing_ok=True)

    def _remove(self, keys: Iterable[str]) -> None:
        """The files of these images, as far as their names stay in this folder."""
        for key in keys:
            if not is_below(key):
                continue
            one = Outputs(key, self.out)
            for path in (one.mask, one.scores, one.overlay):
                with suppress(OSError):
                    path.unlink()

    def pending(self, *, with_scores: bool, with_overlays: bool = False) -> list[int]:
        """Positions of the images that lack one of their files; failed ones are tried again."""
        return [i for i, one in enumerate(self.outputs) if not self._is_done(one, with_scores, with_overlays)]

    def _is_done(self, one: Outputs, with_scores: bool, with_overlays: bool) -> bool:
        entry = self.entries.get(one.key, {})
        if entry.get("status") != DONE or "unrefined" in entry or one.key in self.comparison.changed:
            return False
        wanted = [one.mask, *([one.scores] if with_scores else []), *([one.overlay] if with_overlays else [])]
        return all(path.exists() for path in wanted)

    def note(self, entry: Entry) -> None:
        """Record one image; call it when its files are in place. A changed photo that failed loses its old files."""
        self.own.check()
        key = entry["key"]
        if entry["status"] == FAILED and key in self.comparison.changed:
            self._remove([key])
        self.manifest.append(entry)
        self.entries[key] = brief(entry)

    def count(self, status: str) -> int:
        """How many images of this run have that status."""
        return sum(self.entries.get(one.key, {}).get("status") == status for one in self.outputs)

    def failures(self) -> dict[str, str]:
        """Reason by image, for those of this run that have no mask."""
        own = (self.entries.get(one.key, {}) for one in self.outputs)
        return {entry["image"]: entry["reason"] for entry in own if entry.get("status") == FAILED}

    def unrefined(self) -> dict[str, str]:
        """Reason by image, for those of this run whose mask was to be refined and could not be."""
        own = (self.entries.get(one.key, {}) for one in self.outputs)
        return {entry["image"]: entry["unrefined"] for entry in own if "unrefined" in entry}

    def finish(self, timings: dict[str, float]) -> None:
        """Put the manifest in the images' order and complete the record; seconds of resumed runs add up."""
        if not self.team.alone:
            self.entries = self._known()  # what the others noted
        if not self.team.first:
            return
        self.own.check()
        self.manifest.compact([one.key for one in self.outputs])
        if "images" in self.record.protocol:
            self.record.protocol["images"] = len(
                self.entries
            )  # all that the folder is made of, whichever were asked for
        before = self.record.timings
        self.record.timings = before | {k: round(before.get(k, 0.0) + v, 3) for k, v in timings.items()}
        self.record.peak_memory = peak_memory()
        self.record.write(self.out / RECORD)


_BRIEF_DONE: Entry = {"status": DONE}


def brief(entry: Entry) -> Entry:
    """Status, and of an image that failed, or was not refined, its name and the reason.

    A run over 100,000 images keeps no more of each line.
    """
    if entry.get("status") == DONE and "unrefined" not in entry:
        return _BRIEF_DONE
    return {name: entry[name] for name in ("status", "image", "reason", "unrefined") if name in entry}
