"""A made folder, with its photos if they can be found, as a page shows it.

The manifest only describes files that were found: no path in it is followed, so that a page never shows files outside
the folders that the caller named.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pseudomask.data.images import ImageItem, find_images
from pseudomask.data.names import NameIndex
from pseudomask.errors import UsageError
from pseudomask.quoting import printable
from pseudomask.running.jsonable import jsonable
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE


@dataclass(frozen=True)
class PageFolder(MadeFolder):
    """A folder of masks; `given_images`: the folder of its photos, by default the recorded one."""

    advice: str | None = "repair or remove it"
    given_images: Path | None = None

    @cached_property
    def photos(self) -> NameIndex[ImageItem] | None:
        """None if they cannot be found. Raises `UsageError` if `given_images` is not a folder of images."""
        folder = self.given_images or self.images
        try:
            return None if folder is None else NameIndex(find_images(folder, exclude=self.path))
        except UsageError:
            if self.given_images is not None:
                raise
            return None

    @property
    def photos_folder(self) -> Path | None:
        return None if self.photos is None else self.given_images or self.images

    def photo(self, key: str) -> str | None:
        """The photo's path within `photos_folder`: the one in the manifest, otherwise the only one that matches."""
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
        """The score file's path within `scores`."""
        return f"{key}.npz" if key in self.scored else None

    def changed_photos(self) -> list[str]:
        """Photos that changed since their masks were made."""
        if self.photos_folder is None:
            return []
        names = ((key, self.photo(key)) for key, entry in self.entries.items() if entry.get("status") == DONE)
        return self.changed(((key, name) for key, name in names if name is not None), self.photos_folder)

    def settings(self) -> str:
        """The recorded settings as text."""
        if not self.config:
            return ""
        return "\n".join(printable(line) for line in json.dumps(jsonable(self.config), indent=2).splitlines())


def read_folder(pred: Path, images: Path | None) -> PageFolder:
    """Read `pred` (a folder of masks, or its `scores`).

    images: folder of the photos, by default the recorded one if it still exists. Raises UsageError if the manifest or
    record cannot be read, or `images` is not a folder of images.
    """
    made = PageFolder(MadeFolder.around(pred), given_images=images)
    _ = made.entries, made.photos  # report now what cannot be read
    return made
