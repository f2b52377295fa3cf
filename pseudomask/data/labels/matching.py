"""Match the images of a folder with the rows of a label table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pseudomask.data.images import ImageItem
from pseudomask.data.labels.table import LabelTable
from pseudomask.data.names import NameIndex
from pseudomask.errors import LabelError


@dataclass(frozen=True)
class Matched:
    """`tags`: image key → positions in the table's classes (empty: shows none of them).

    `untagged`: keys of images without a row. `orphans`: rows without an image, as written.
    """

    tags: dict[str, tuple[int, ...]]
    untagged: list[str]
    orphans: list[str]


def match(items: Sequence[ImageItem], table: LabelTable) -> Matched:
    """Find each row's image: by relative path, else without extension, else by a unique tail.

    Raises LabelError if a row matches several images, if two rows with different tags match one
    image, or if no row matches an image.
    """
    index = NameIndex(items)
    tags: dict[str, tuple[int, ...]] = {}
    told_by: dict[str, str] = {}
    inexact: list[str] = []
    for name, positions in table.tags.items():
        item = index.exact(name)
        if item is None:
            inexact.append(name)
        else:
            _put(item.key, name, positions, tags, told_by, table)
    exact = frozenset(tags)  # an exact match is not also matched by the tail of another name
    orphans: list[str] = []
    for name in inexact:
        found = [item for item in index.find(name) if item.key not in exact]
        if len(found) > 1:
            listed = ", ".join(item.relative for item in found[:3])
            message = f"{name} is ambiguous: {listed}; write its path within the image folder"
            raise LabelError(message, table.source)
        if found:
            _put(found[0].key, name, table.tags[name], tags, told_by, table)
        else:
            orphans.append(name)
    if not tags:
        raise LabelError(
            f"matches no image: it names {next(iter(table.tags))!r}, the folder contains {items[0].relative!r}"
            if items
            else "matches no image: the folder has none",
            table.source,
        )
    return Matched(tags, [item.key for item in items if item.key not in tags], orphans)


def _put(
    key: str,
    name: str,
    positions: tuple[int, ...],
    tags: dict[str, tuple[int, ...]],
    told_by: dict[str, str],
    table: LabelTable,
) -> None:
    if tags.setdefault(key, positions) != positions:
        raise LabelError(f"{told_by[key]} and {name} are the same image with different tags", table.source)
    told_by.setdefault(key, name)
