"""Read an output folder of extract or refine: its record, manifest, masks and scores."""

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
    """A folder of masks and scores. Everything is read on first use, and only once.

    Attributes:
        advice: what to do about a record or manifest that cannot be read; by default the advice for resuming.
    """

    path: Path
    advice: str | None = None

    @staticmethod
    def around(path: Path) -> Path:
        """The folder that `path` refers to: `path` itself, or its parent if `path` is its `scores` folder."""
        inside = path.name == "scores" and not (path / "scores").is_dir() and not (path / RECORD).is_file()
        return path.parent if inside and (path.parent / RECORD).is_file() else path

    def holds_run(self) -> bool:
        """Whether the folder has a record, valid or not."""
        return (self.path / RECORD).exists()

    @cached_property
    def record(self) -> RunRecord | None:
        """The run's record, if there is one. Raises `UsageError` if it is not a record of this schema."""
        with self._advised():
            return None if self._content is ABSENT else RunRecord.parse(self._content, self.path / RECORD)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """The unchecked content of run.json; empty if there is no such file. Raises `UsageError` if it is not JSON."""
        with self._advised():
            return self._content if isinstance(self._content, dict) else {}

    @cached_property
    def _content(self) -> Any:
        return read_content(self.path / RECORD)

    @property
    def config(self) -> dict[str, Any]:
        """The run's settings; empty if the record has none. The same holds for the properties below."""
        return self._table("config")

    @property
    def protocol(self) -> dict[str, Any]:
        return self._table("protocol")

    def _table(self, name: str) -> dict[str, Any]:
        found = self.facts.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of mask values 1, 2, ...; None without a valid list."""
        named = self.facts.get("classes")
        return tuple(named) if isinstance(named, list) and named and all(isinstance(n, str) for n in named) else None

    @property
    def threshold(self) -> float | None:
        """The background threshold of the scores, in [0, 1]; unless `refined_by`, masks are the scores cut there."""
        # A refiner may move the seeds' threshold, which `config` holds.
        return _share(self.protocol.get("scores_threshold", self.config.get("threshold")))

    @property
    def masks_threshold(self) -> float | None:
        """The threshold of the masks, which `extract --refine` makes from scores that it does not store."""
        return _share(self.protocol.get("masks_threshold", self.threshold))

    @property
    def refined_by(self) -> str:
        """The refiners that made these masks from these scores; empty if the masks are just thresholded scores."""
        return str(self.protocol.get("refined_by", ""))

    @property
    def walk_seeds(self) -> float:
        """The share that a walk keeps of these scores by default; 0 if the record has none."""
        return _share(self.protocol.get("walk_seeds")) or 0.0

    @property
    def at_chance(self) -> tuple[str, ...]:
        """Classes that the weights found in held-out photos no better than chance."""
        seeds = self.protocol.get("seeds")
        told = self.protocol.get("at_chance", seeds.get("at_chance") if isinstance(seeds, dict) else None)
        return tuple(name for name in told if isinstance(name, str)) if isinstance(told, list) else ()

    @property
    def masks_chosen(self) -> str:
        """How the masks' threshold was chosen, in words."""
        made, seeds = self.masks_threshold, self.threshold
        if made is None or seeds is None or made == seeds:
            return self.threshold_chosen
        return f"{self.threshold_chosen}, moved from {seeds:g} by {self.refined_by}"

    @property
    def threshold_chosen(self) -> str:
        """How the threshold was chosen, in words; empty if there is no threshold."""
        made, seeds = self.threshold, _share(self.config.get("threshold"))
        if made is None:
            return ""
        chosen = str(self.protocol.get("threshold_chosen", "given"))
        if seeds is None or seeds == made:
            return chosen
        return f"{chosen}, moved from {seeds:g} by {self.protocol.get('method', 'refine')}"

    @property
    def images(self) -> Path | None:
        """The folder of photos as given to the run; a relative path is relative to the run's working directory."""
        named = self.config.get("images")
        return Path(named) if isinstance(named, str) and named and "\0" not in named else None

    def lines(self) -> Iterator[Entry]:
        """The manifest's lines in file order; the last one for a key counts. Raises `UsageError` for a foreign file."""
        with self._advised():
            yield from Manifest(self.path / MANIFEST).lines()

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The manifest's entries by key; about 1 KB per image."""
        return {entry["key"]: entry for entry in self.lines()}

    def failures(self) -> list[tuple[str, str]]:
        """(image, reason) of each failed entry."""
        failed = ((key, entry) for key, entry in self.entries.items() if entry.get("status") == FAILED)
        return [(str(entry.get("image", key)), str(entry.get("reason", ""))) for key, entry in failed]

    def outputs(self, key: str) -> Outputs:
        """The paths of an image's files, which may not exist."""
        return Outputs(key, self.path)

    def masks(self) -> list[File]:
        """The existing masks. Raises `UsageError` if the folder is missing."""
        return find_files(self.path, ".png")

    @property
    def scores(self) -> Path:
        return self.path / "scores"

    def score_files(self) -> list[File]:
        """The existing score files."""
        return find_files(self.scores, ".npz") if self.scores.is_dir() else []

    def made_from(self, images: Path) -> bool:
        """Whether `images` is the run's own folder of photos rather than a copy, whose files would have other times."""
        return self.images is not None and os.path.realpath(self.images) == os.path.realpath(images)

    def changed(self, photos: Iterable[tuple[str, str]], images: Path) -> list[str]:
        """Names of the photos below `images` that have changed since their masks were made.

        photos: (key, name) of each photo.
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
