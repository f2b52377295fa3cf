"""What each mask of a folder was made from, as its manifest's line tells it, and whether that is still so."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pseudomask.running.identity import Identity, older
from pseudomask.running.manifest import Entry
from pseudomask.running.reporter import Reporter


class Line(NamedTuple):
    """What a manifest's line tells of a mask's inputs: as little of it as a run over 100,000 photos can hold.

    Attributes:
        suffix: the photo's, which with the key makes its path.
        photo: None in lines of version 0.1.0.
        tags: the given ones, sorted and joined by line breaks; None where the classifier chose them.
        seed: SHA-256 of the score file that was refined; None in lines of extract.
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
        """Whether the photo at `path` is what `mask` was made from; where nothing was noted, the mask's age decides."""
        if self.suffix != suffix_of(path.name):
            return False
        return older(path, mask) if self.photo is None else self.photo.holds(path, hashed=hashed)


class Inputs(Protocol):
    """The inputs of a folder's masks as they are now.

    Attributes:
        keys: of all photos of which a mask can be made, whether this run was asked for them or not.
        where: in words, where they are looked for.
    """

    where: str

    @property
    def keys(self) -> Container[str]: ...

    def current(self, key: str, line: Line, mask: Path) -> bool:
        """Whether a mask made from what `line` tells is still that of the photo `key`."""
        ...


def report_changed(changed: Sequence[str], reporter: Reporter) -> None:
    """A mask that does not belong to its photo looks like a bad mask."""
    if changed:
        reporter.warn(
            f"{len(changed)} photos changed since their masks were made (first: {changed[0]}); make these masks again"
        )


def suffix_of(image: str) -> str:
    return os.path.splitext(image)[1]  # noqa: PTH122 - 100,000 names, no Path wanted


def joined(names: Iterable[str]) -> str:
    """Tags as one text to compare, in whatever order they came."""
    return "\n".join(sorted(names))
