"""What extract's masks are made from: photos and their tags."""

from __future__ import annotations

from pathlib import Path

from pseudomask.data.collection import Collection
from pseudomask.running.inputs import Line, joined


class PhotosAndTags:
    """The `Inputs` of a folder that extract fills; `hashed`: the photos' bytes are compared where a hash is noted."""

    def __init__(self, collection: Collection, images: Path, *, hashed: bool) -> None:
        self.whole, self.hashed = collection.whole, hashed
        # Of two photos of one key a list may have chosen one.
        self.keys = {item.key: item for item in (*self.whole.items, *collection.items)}
        self.where = f"in {images}"

    def current(self, key: str, line: Line, mask: Path) -> bool:
        """Whether photo and tags are still those."""
        tags = self.whole.tag_names(key)
        if line.tags != (None if tags is None else joined(tags)):
            return False
        return line.holds(self.keys[key].path, mask, hashed=self.hashed)
