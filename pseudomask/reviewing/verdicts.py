"""OUT/review.csv while it is served: on disk at once, and read again if somebody else wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pseudomask.data.review import Verdict, photos_by_key, read_review, write_review
from pseudomask.errors import PseudomaskError
from pseudomask.running.listing import File

FILE = "review.csv"
NONE = Verdict()


class Verdicts:
    """The rows of `path`, by key of their mask; rows of other photos are kept as they are.

    Raises `LabelError` for a file that is not such a table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.masks: Mapping[str, File] = {}
        self._names: dict[str, str] = {}  # by key, what the file calls a photo
        self._said: dict[str, Verdict] = {}
        self._strays: dict[str, Verdict] = {}
        self._stamp: object = None

    def show(self, masks: Mapping[str, File], names: Mapping[str, str]) -> None:
        """Take up the masks there are, in the order of the page, and what a new row calls their photos."""
        self.masks, self._stamp = masks, None
        self.refresh()
        self._names = {**names, **self._names}

    def of(self, key: str) -> Verdict:
        return self._said.get(key, NONE)

    def refresh(self) -> list[str]:
        """Read the file again if it changed; returns the keys whose rows are other than before.

        Raises `PseudomaskError` if the folder is gone: nothing is forgotten for that, and nothing written elsewhere.
        """
        if not self.path.parent.is_dir():
            raise PseudomaskError(f"{self.path.parent} is no longer there")
        stamp = self._now()
        if stamp == self._stamp:
            return []
        rows = read_review(self.path) if stamp is not None else {}
        photos, strays = photos_by_key(rows, self.masks.values(), self.path)
        before, self._said = self._said, {key: rows[photo] for key, photo in photos.items()}
        self._names |= photos
        self._strays = {photo: rows[photo] for photo in strays}
        self._stamp = stamp
        return [key for key in {*before, *self._said} if before.get(key, NONE) != self.of(key)]

    def put(self, key: str, row: Verdict) -> None:
        """Write one row; when this returns, it is on the disk. Raises `PseudomaskError` if it cannot be."""
        said = {**self._said, key: row}
        if row == NONE:
            del said[key]
        ordered = ((self._names.get(one, one), said[one]) for one in self.masks if one in said)
        write_review(self.path, [*ordered, *self._strays.items()])
        self._said, self._stamp = said, self._now()

    def _now(self) -> object:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
