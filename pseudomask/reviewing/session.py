"""One review of a folder, whatever the number of tabs: what is shown, what was said, and who said it too late."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pseudomask.data.review import VERDICTS, Verdict
from pseudomask.errors import UsageError
from pseudomask.quoting import count
from pseudomask.reporting.folder import PageFolder, read_folder
from pseudomask.reporting.page import Page
from pseudomask.reporting.panels import Panel
from pseudomask.reporting.report import folder_page
from pseudomask.reviewing.again import commands
from pseudomask.reviewing.tags import Tags
from pseudomask.reviewing.verdicts import FILE, Verdicts
from pseudomask.running.jsonable import is_utf8
from pseudomask.running.listing import find_files

LONGEST_NOTE = 1000  # characters


class Stale(Exception):
    """A change of a row that is no longer what the sender saw."""


@dataclass
class Session:
    """What is reviewed; every method may be called from several threads.

    Attributes:
        out, images: as `ReviewConfig` says.
        made, page, panels: the folder as it was last read; panels by number.
        numbers: the number of each mask, by key; it stays the same for as long as the session lasts.
    """

    out: Path
    images: Path | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    panels: Mapping[int, Panel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._verdicts = Verdicts(self.out / FILE)
        self._seen: dict[str, int] = {}  # how often each row has changed
        self.made: PageFolder
        self.page: Page
        self.read()

    def read(self) -> None:
        """Read the folder, and again after it was extracted again.

        Raises `UsageError` if there is no mask, or a file cannot be read.
        """
        with self._lock:
            masks = find_files(self.out, ".png")
            if not masks:
                raise UsageError(f"{self.out}: no mask (.png) found; give an output folder of extract or refine")
            made = read_folder(self.out, self.images)
            page = folder_page(made, masks)
            for panel in page.panels:
                self.numbers.setdefault(panel.key, len(self.numbers))
            by_key = {file.key: file for file in masks}
            names = {panel.key: panel.photo or panel.key for panel in page.panels}
            self._verdicts.show({panel.key: by_key[panel.key] for panel in page.panels}, names)
            self.made, self.page, self._tags = made, replace(page, warnings=_missing(made, page)), Tags(made)
            self.panels = {self.numbers[panel.key]: panel for panel in page.panels}
            self._again = tuple(commands(self._tags))

    @property
    def again(self) -> Sequence[str]:
        """The commands that make the masks of changed tags again; empty if no tag has changed."""
        return self._again if self._tags.marked() else ()

    @property
    def can_tag(self) -> bool:
        """Whether tags can be changed: the record says how the masks were made, and what classes there are."""
        return bool(self._again and self._tags.classes)

    def live(self) -> tuple[Page, dict[str, Any]]:
        """The page, and what its script needs to know besides."""
        with self._lock:
            return self.page, {
                "numbers": [self.numbers[panel.key] for panel in self.page.panels],
                "threshold": self.made.threshold,
                "tags": self.can_tag,
                "state": self.state(),
            }

    def say(self, number: int, seen: int, change: Mapping[str, Any]) -> dict[str, Any]:
        """Change `verdict`, `note` or `tags` (text) of a mask, on disk when this returns; returns its row.

        seen: the `seen` of the row that the sender knows. Raises `Stale` if it is another by now, `UsageError` for
        what cannot be said, and `PseudomaskError` if it cannot be written; nothing is changed then.
        """
        with self._lock:
            panel = self.panels.get(number)
            if panel is None:
                raise UsageError("no such mask")
            self._refresh()
            if seen != self._seen.get(panel.key, 0):
                raise Stale
            before = self._verdicts.of(panel.key)
            after = _changed(before, change)
            tags = self._tags.parse(_text(change["tags"])) if "tags" in change else None
            if tags is not None and not self.can_tag:
                raise UsageError("the run that made these masks is not recorded, so that tags cannot be changed")
            if after != before:
                self._verdicts.put(panel.key, after)
            if tags is not None and tags != self._tags.of(panel.key):
                self._tags.put(panel.key, tags)
            self._seen[panel.key] = seen + 1
            return self.row(number)

    def row(self, number: int) -> dict[str, Any]:
        """What is known of a mask: verdict, note, tags, whether it is `marked` for a new extraction, and `seen`."""
        with self._lock:
            key = self.panels[number].key
            said = self._verdicts.of(key)
            return {
                "verdict": said.verdict,
                "note": said.note,
                "tags": ";".join(self._tags.of(key)),
                "marked": self._tags.is_marked(key),
                "seen": self._seen.get(key, 0),
            }

    def state(self) -> dict[str, Any]:
        """All rows by number, and the commands."""
        with self._lock:
            self._refresh()
            return {"rows": {number: self.row(number) for number in self.panels}, "again": self.again}

    def counts(self) -> dict[str, int]:
        """How many masks have each verdict, none ("left"), and new tags ("marked")."""
        with self._lock:
            said = [self._verdicts.of(panel.key).verdict for panel in self.panels.values()]
            found = {verdict: said.count(verdict) for verdict in VERDICTS}
            return found | {"left": said.count(""), "marked": len(self._tags.marked())}

    def _refresh(self) -> None:
        for key in self._verdicts.refresh():  # somebody wrote the file
            self._seen[key] = self._seen.get(key, 0) + 1


def _missing(made: PageFolder, page: Page) -> list[str]:
    """What to say where photos are not where they were."""
    if made.photos_folder is None:
        where = "no record says where the photos are" if made.images is None else f"the photos are not in {made.images}"
        return [f"{where}; give their folder as the second argument (verdicts are kept all the same)"]
    lost = [panel.key for panel in page.panels if panel.photo is None]
    told = f"no photo in {made.photos_folder} for {len(lost)} of {count(len(page.panels), 'mask')}"
    return [f"{told} (first: {lost[0]})"] if lost else []


def _changed(row: Verdict, change: Mapping[str, Any]) -> Verdict:
    verdict, note = _text(change.get("verdict", row.verdict)), _text(change.get("note", row.note))
    if verdict and verdict not in VERDICTS:
        raise UsageError(f"a verdict is {', '.join(VERDICTS)} or empty")
    if len(note) > LONGEST_NOTE or "\0" in note:
        raise UsageError(f"a note has at most {LONGEST_NOTE} characters, without NUL")
    return replace(row, verdict=verdict, note=" ".join(note.split()))


def _text(value: object) -> str:
    if not isinstance(value, str) or not is_utf8(value):
        raise UsageError("text expected")
    return value
