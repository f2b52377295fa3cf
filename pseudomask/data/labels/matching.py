"""Match the images of a folder with the rows of a label table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pseudomask.data.images import ImageItem
from pseudomask.data.labels.table import LabelTable
from pseudomask.data.names import NameIndex, apart
from pseudomask.errors import LabelError
from pseudomask.quoting import listed


@dataclass(frozen=True)
class Matched:
    """`tags`: image key → positions in the table's classes (empty: shows none of them).

    `untagged`: keys of images without a row. `orphans`: rows without an image, as written.
    """

    tags: dict[str, tuple[int, ...]]
    untagged: list[str]
    orphans: list[str]


def match(items: Sequence[ImageItem], table: LabelTable) -> Matched:
    """Find each row's image: by relative path, otherwise without extension, otherwise by a unique tail.

    Raises LabelError if a row matches several images, if two rows with different tags match one
    image, or if no row matches an image.
    """
    index = NameIndex(items)
    tags: dict[str, tuple[int, ...]] = {}
    row_of: dict[str, str] = {}

    def put(key: str, name: str) -> None:
        if tags.setdefault(key, table.tags[name]) != table.tags[name]:
            raise LabelError(f"{row_of[key]} and {name} are the same image with different tags", table.source)
        row_of.setdefault(key, name)

    inexact: list[str] = []
    for name in table.tags:
        item = index.exact(name)
        if item is None:
            inexact.append(name)
        else:
            put(item.key, name)
    exact = frozenset(tags)  # an exact match is not also matched by the tail of another name
    orphans: list[str] = []
    for name in inexact:
        found = [item for item in index.find(name) if item.key not in exact]
        if len(found) > 1:
            several = listed([item.relative for item in found])
            message = f"{name} is ambiguous: {several}; write its path within the image folder"
            raise LabelError(message, table.source)
        if found:
            put(found[0].key, name)
        else:
            orphans.append(name)
    if not tags:
        raise LabelError(
            f"matches no image: {apart(next(iter(table.tags)), items[0].relative)}"
            if items
            else "matches no image: the folder has none",
            table.source,
        )
    return Matched(tags, [item.key for item in items if item.key not in tags], orphans)
