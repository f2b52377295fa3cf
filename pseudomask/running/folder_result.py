"""The result of verbs that fill a folder with masks: counts, failures and a summary."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pseudomask.quoting import command, count
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.jsonable import json_object
from pseudomask.running.layout import MANIFEST
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE, FAILED
from pseudomask.running.quality import MANY, Coverage, Doubt
from pseudomask.running.reporter import Bad, Reporter
from pseudomask.running.shown import Shown
from pseudomask.running.signals import Stop

_SHOWN = 3  # failures listed in the summary


@dataclass(kw_only=True)
class FolderResult(Shown):
    """The result of a verb.

    Attributes:
        done, failed: images with and without a mask; `skipped`: finished by an earlier run; `pending`: still to do
            when this run began; `pruned`: removed, or to be removed, because their photos no longer exist.
        empty: images with a tag that has no pixels.
        doubts: reasons to distrust the masks, most harmful first.
        seconds: time spent on photos, excluding startup.
        threshold: the background threshold used; `threshold_from`: where it came from.
        failures: reason by photo, for photos without a mask; `unrefined`: for those whose refinement failed, so
            that their mask comes straight from the scores.
        understood: (label, value) lines shown instead of a summary in a dry run.
        exit_code: 0; 1 if more than `max_failures` photos failed or were not refined; 130 or 143 after a signal.
    """

    out: Path
    classes: tuple[str, ...]
    threshold: float
    threshold_from: str
    done: int = 0
    failed: int = 0
    skipped: int = 0
    pending: int = 0
    pruned: int = 0
    empty: int = 0
    doubts: list[Doubt] = field(default_factory=list)
    seconds: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)
    unrefined: dict[str, str] = field(default_factory=dict)
    understood: list[tuple[str, str]] = field(default_factory=list)
    exit_code: int = 0

    def begin(self, run: FolderRun, reporter: Reporter, *, with_scores: bool, with_overlays: bool) -> list[int]:
        """Report on existing masks, set the counts and return the positions of the masks still to make."""
        for line in run.comparison.messages():
            reporter.info(line)
        pending = run.pending(with_scores=with_scores, with_overlays=with_overlays)
        self.pending, self.skipped = len(pending), len(run.outputs) - len(pending)
        self.pruned = run.comparison.lost
        return pending

    def left_to_make(self) -> tuple[str, str]:
        """The line that a dry run shows about the output folder."""
        made = f"{count(self.pending, 'mask')} to make, {self.skipped:,} already done"
        return "output", f"{self.out}: {made}; nothing was written"

    def finish(self, run: FolderRun, stop: Stop, reporter: Reporter, *, max_failures: int) -> None:
        """Fill in the counts from the run's manifest, and the exit code."""
        self.done, self.failed = run.count(DONE), run.count(FAILED)
        if run.team.first:
            self._judge(MadeFolder(run.out), {one.key for one in run.outputs})
        self.failures, self.unrefined = run.failures(), run.unrefined()
        self.exit_code = stop.exit_code or int(self.failed + len(self.unrefined) > max_failures)
        if stop.requested:
            reporter.warn("stopped; run the same command again to resume")

    def _judge(self, made: MadeFolder, keys: Container[str]) -> None:
        coverage = Coverage.of(entry for entry in made.lines() if entry["key"] in keys)
        self.empty = coverage.with_empty
        self.doubts = coverage.doubts(made.at_chance, f"{command('report', self.out)} lists all")

    def details(self) -> list[tuple[str, str]]:
        """How the masks were made, apart from the threshold."""
        return []

    def made_with(self) -> list[tuple[str, str]]:
        """How the masks were made, including the threshold."""
        return [*self.details(), ("threshold", f"{self.threshold:g}, {self.threshold_from}")]

    def summary(self) -> list[tuple[str, str]]:
        if self.understood:
            return self.understood
        new = self.done - self.skipped
        speed = f" ({new / self.seconds:.2f} per second)" if new and self.seconds > 0 else ""
        before = f", {self.skipped if new else 'all'} from an earlier run" if self.skipped else ""
        rows = [("done", f"{count(self.done, 'mask')}{speed}{before}"), *self._failed(), ("where", str(self.out))]
        rows.append(("made with", "; ".join(f"{what} {value}" for what, value in self.made_with())))
        if self.done:
            rows += [*self._quality(), *self.next_steps()]
        return rows

    def _failed(self) -> list[tuple[str, str]]:
        if self.unrefined:
            return [*self._without_mask(), ("not refined", Bad(len(self.unrefined))), *_first(self.unrefined)]
        return self._without_mask()

    def _without_mask(self) -> list[tuple[str, str]]:
        if not self.failed:
            return [("failed", "none")]
        shown = _first(self.failures)
        more = self.failed - len(shown)
        rest = [("", f"and {more} more; see {self.out / MANIFEST} for the reasons")] if more else []
        return [("failed", Bad(self.failed)), *shown, *rest]

    def _quality(self) -> list[tuple[str, str]]:
        """Reasons to distrust the masks, as far as they show without true masks."""
        look = command("report", self.out)
        if not self.doubts:
            return [("quality", f"not measured; to look at the masks: {look}")]
        many = self.doubts[0].masks >= MANY * self.done
        heading = f"not measured, but in doubt; to look at the worst masks first: {look}"
        return [("quality", Bad(heading) if many else heading), *(("", doubt.text) for doubt in self.doubts)]

    def next_steps(self) -> list[tuple[str, str]]:
        """The usual next command."""
        return [("next", command("evaluate", self.out, "TRUE_MASKS"))]

    def to_json(self) -> dict[str, Any]:
        understood = [{"what": what, "value": value} for what, value in self.understood]
        return json_object({"schema": 1, **self.__dict__, "understood": understood})


def _first(reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    return [("", f"{name}: {reason}") for name, reason in islice(reasons.items(), _SHOWN)]
