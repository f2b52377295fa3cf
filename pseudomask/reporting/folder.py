"""A made folder as a page shows it: with its photos, as far as they are there.

A manifest only describes files that were found: no path in it is followed, so that a page never shows what lies
outside the folders that the caller named.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pseudomask.data.images import ImageItem, find_images
from pseudomask.data.names import NameIndex
from pseudomask.errors import UsageError
from pseudomask.reporting.text import clean
from pseudomask.running.jsonable import jsonable
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE


@dataclass(frozen=True)
class ShownFolder(MadeFolder):
    """A folder of masks; `asked`: where its photos are, None where the record shall tell."""

    advice: str | None = "repair or remove it"
    asked: Path | None = None

    @cached_property
    def photos(self) -> NameIndex[ImageItem] | None:
        """None where they are not to be found. Raises `UsageError` for `asked` that is no folder with images."""
        folder = self.asked or self.images
        try:
            return None if folder is None else NameIndex(find_images(folder, exclude=self.path))
        except UsageError:
            if self.asked is not None:
                raise
            return None

    @property
    def photos_folder(self) -> Path | None:
        return None if self.photos is None else self.asked or self.images

    def photo(self, key: str) -> str | None:
        """The photo's path below `photos_folder`: that of the manifest's line, else the one that the key names."""
        if self.photos is None:
            return None
        named = self.entries.get(key, {}).get("image")
        found = self.photos.exact(named) if isinstance(named, str) else None
        if found is None:
            several = self.photos.find(key)
            found = several[0] if len(several) == 1 else None
        return None if found is None else found.relative

    @cached_property
    def scored(self) -> frozenset[str]:
        """Keys of the images that have a score file."""
        return frozenset(file.key for file in self.score_files())

    def score_file(self, key: str) -> str | None:
        """The score file's path below `scores`."""
        return f"{key}.npz" if key in self.scored else None

    def changed_photos(self) -> list[str]:
        """Photos that are not what their masks were made from."""
        if self.photos_folder is None:
            return []
        names = ((key, self.photo(key)) for key, entry in self.entries.items() if entry.get("status") == DONE)
        return self.changed(((key, name) for key, name in names if name is not None), self.photos_folder)

    def settings(self) -> str:
        """The recorded settings as text."""
        if not self.config:
            return ""
        return "\n".join(clean(line) for line in json.dumps(jsonable(self.config), indent=2).splitlines())


def read_folder(pred: Path, images: Path | None) -> ShownFolder:
    """What is known of `pred` (a folder of masks, or its `scores`).

    images: folder of the photos; None takes that of the record, where it is still there. Raises UsageError for a
    manifest or record that cannot be read, and for `images` that is no folder with images.
    """
    made = ShownFolder(MadeFolder.around(pred), asked=images)
    _ = made.entries, made.photos  # what cannot be read is told now
    return made
