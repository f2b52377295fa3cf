"""What each mask in a folder was made from, according to the manifest, and whether it has changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pseudomask.quoting import count
from pseudomask.running.identity import Identity, older
from pseudomask.running.manifest import Entry
from pseudomask.running.reporter import Reporter


class Line(NamedTuple):
    """A mask's inputs according to the manifest; kept small for runs over 100,000 photos.

    Attributes:
        suffix: the photo's suffix; key and suffix together are its path.
        photo: None in lines of version 0.1.0.
        tags: the given tags, sorted and joined by line breaks; None if the classifier predicted them.
        seed: SHA-256 of the score file that was refined; None in lines written by extract.
    """

    suffix: str
    photo: Identity | None
    tags: str | None
    seed: str | None

    @classmethod
    def of(cls, entry: Entry) -> Line:
        image, classes, seed = entry.get("image"), entry.get("classes"), entry.get("seed")
        given = entry.get("tags") == "labels" and isinstance(classes, list)
        return cls(
            sys.intern(suffix_of(image)) if isinstance(image, str) else "",
            Identity.from_json(entry.get("photo")),
            sys.intern(joined(map(str, classes or ()))) if given else None,
            seed if isinstance(seed, str) else None,
        )

    def holds(self, path: Path, mask: Path, *, hashed: bool) -> bool:
        """Whether `mask` was made from the photo at `path`; if nothing was recorded, the mask's age decides."""
        if self.suffix != suffix_of(path.name):
            return False
        return older(path, mask) if self.photo is None else self.photo.holds(path, hashed=hashed)


class Inputs(Protocol):
    """The current inputs of a folder's masks.

    Attributes:
        keys: keys of all photos, including those outside this run.
        where: where the photos are expected, for messages ("in photos/").
    """

    where: str

    @property
    def keys(self) -> Container[str]: ...

    def current(self, key: str, line: Line, mask: Path) -> bool:
        """Whether a mask made from the inputs in `line` is still up to date for the photo `key`."""
        ...


def report_changed(changed: Sequence[str], reporter: Reporter) -> None:
    """Warn about photos that have changed, because their masks would look bad."""
    if changed:
        reporter.warn(
            f"{count(len(changed), 'photo')} changed since the masks were made (first: {changed[0]}); make these masks "
            "again"
        )


def suffix_of(image: str) -> str:
    return os.path.splitext(image)[1]  # noqa: PTH122 - a Path would be slow for 100,000 names


def joined(names: Iterable[str]) -> str:
    """Tags as a single string for comparison, independent of their order."""
    return "\n".join(sorted(names))
