"""A folder that extract or refine filled, or fills: the one reader of its record, manifest, masks and scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pseudomask.errors import UsageError
from pseudomask.running.identity import Identity
from pseudomask.running.layout import MANIFEST, RECORD, Outputs
from pseudomask.running.listing import File, find_files
from pseudomask.running.manifest import FAILED, Entry, Manifest
from pseudomask.running.record import ABSENT, RunRecord, read_content


@dataclass(frozen=True)
class MadeFolder:
    """A folder of masks and scores. What is asked for is read then, and once; make another one to look again.

    Attributes:
        advice: what to do about a record or manifest that cannot be read; None for the usual advice of resuming.
    """

    path: Path
    advice: str | None = None

    @staticmethod
    def around(path: Path) -> Path:
        """The made folder that `path` names: itself, or the one whose `scores` it is."""
        inside = path.name == "scores" and not (path / "scores").is_dir() and not (path / RECORD).is_file()
        return path.parent if inside and (path.parent / RECORD).is_file() else path

    def holds_run(self) -> bool:
        """Whether there is a record, whatever is in it."""
        return (self.path / RECORD).exists()

    @cached_property
    def record(self) -> RunRecord | None:
        """The run's record; None where there is none. Raises `UsageError` for what is not a record of this schema."""
        with self._advised():
            return None if self._content is ABSENT else RunRecord.parse(self._content, self.path / RECORD)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What run.json holds, unchecked; empty without one. Raises `UsageError` where it is not JSON."""
        with self._advised():
            return self._content if isinstance(self._content, dict) else {}

    @cached_property
    def _content(self) -> Any:
        return read_content(self.path / RECORD)

    @property
    def config(self) -> dict[str, Any]:
        """The run's settings; like all that follows as far as the record tells them."""
        return self._table("config")

    @property
    def protocol(self) -> dict[str, Any]:
        return self._table("protocol")

    def _table(self, name: str) -> dict[str, Any]:
        found = self.facts.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of mask values 1, 2, ...; None where there is no list of names."""
        named = self.facts.get("classes")
        return tuple(named) if isinstance(named, list) and named and all(isinstance(n, str) for n in named) else None

    @property
    def threshold(self) -> float | None:
        """The background threshold in [0, 1] of the scores; the masks are the scores cut there, unless `refined_by`."""
        # A refiner may move that of its seeds, which `config` holds.
        return _share(self.protocol.get("scores_threshold", self.config.get("threshold")))

    @property
    def masks_threshold(self) -> float | None:
        """That of the masks: `extract --refine` makes them from scores that it does not store."""
        return _share(self.protocol.get("masks_threshold", self.threshold))

    @property
    def refined_by(self) -> str:
        """The refiners that made these masks from these scores; empty where the masks are the scores cut."""
        return str(self.protocol.get("refined_by", ""))

    @property
    def at_chance(self) -> tuple[str, ...]:
        """Classes that the weights found in held-out photos no better than chance."""
        seeds = self.protocol.get("seeds")
        told = self.protocol.get("at_chance", seeds.get("at_chance") if isinstance(seeds, dict) else None)
        return tuple(name for name in told if isinstance(name, str)) if isinstance(told, list) else ()

    @property
    def masks_chosen(self) -> str:
        """Who chose the threshold of the masks, in words."""
        made, seeds = self.masks_threshold, self.threshold
        if made is None or seeds is None or made == seeds:
            return self.threshold_chosen
        return f"{self.threshold_chosen}, moved from {seeds:g} by {self.refined_by}"

    @property
    def threshold_chosen(self) -> str:
        """Who chose the threshold, in words; empty where there is none."""
        made, seeds = self.threshold, _share(self.config.get("threshold"))
        if made is None:
            return ""
        chosen = str(self.protocol.get("threshold_chosen", "given"))
        if seeds is None or seeds == made:
            return chosen
        return f"{chosen}, moved from {seeds:g} by {self.protocol.get('method', 'refine')}"

    @property
    def images(self) -> Path | None:
        """The photos' folder, as the run was given it: a relative path is one from where it ran."""
        named = self.config.get("images")
        return Path(named) if isinstance(named, str) and named and "\0" not in named else None

    def lines(self) -> Iterator[Entry]:
        """The manifest's lines as they stand; the last one of a key counts. Raises `UsageError` for a foreign file."""
        with self._advised():
            yield from Manifest(self.path / MANIFEST).lines()

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The manifest's entries by key, whole: about 1 KB an image."""
        return {entry["key"]: entry for entry in self.lines()}

    def failures(self) -> list[tuple[str, str]]:
        """(image, reason) of what the manifest calls failed."""
        failed = ((key, entry) for key, entry in self.entries.items() if entry.get("status") == FAILED)
        return [(str(entry.get("image", key)), str(entry.get("reason", ""))) for key, entry in failed]

    def outputs(self, key: str) -> Outputs:
        """Where the files of an image are, or would be."""
        return Outputs(key, self.path)

    def masks(self) -> list[File]:
        """The masks that are there. Raises `UsageError` where there is no folder."""
        return find_files(self.path, ".png")

    @property
    def scores(self) -> Path:
        return self.path / "scores"

    def score_files(self) -> list[File]:
        """The score files that are there; none where there is no folder of them."""
        return find_files(self.scores, ".npz") if self.scores.is_dir() else []

    def made_from(self, images: Path) -> bool:
        """Whether `images` is the very folder of photos; in a copy of it files have times of their own."""
        return self.images is not None and os.path.realpath(self.images) == os.path.realpath(images)

    def changed(self, photos: Iterable[tuple[str, str]], images: Path) -> list[str]:
        """Names of photos below `images` that are no longer what their masks were made from.

        photos: (key, name) of each.
        """
        own = self.made_from(images)
        found = []
        for key, name in photos:
            noted = Identity.from_json(self.entries[key].get("photo"))
            path = images / name
            if noted is not None and path.exists() and not noted.holds(path, timed=own):
                found.append(name)
        return found

    @contextmanager
    def _advised(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            if self.advice is None:
                raise
            raise UsageError(error.reason, advice=self.advice) from error


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
