"""Collect and check the rows of a label source."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from pathlib import Path

from pseudomask.data.labels.cells import part, read_list_cell
from pseudomask.data.labels.class_names import LEFT_OUT, ClassNames
from pseudomask.data.labels.row_names import RowNames, is_plain
from pseudomask.data.labels.table import LabelTable, ReadOptions
from pseudomask.errors import LabelError
from pseudomask.quoting import count

CELL_FORMATS = frozenset({"csv", "imagefolder", "text", "per-image", "parquet"})
"""Formats whose names come from a cell or line, which may hold several names or none."""

TABLES = frozenset({"csv", "imagefolder", "parquet"})
"""Formats whose columns can be chosen by options."""


class TableBuilder:
    """Collects and checks (image name, class names, line); `finish` returns the LabelTable.

    `separator` separates the tags of a cell unless the user gave another. With `one_tag_rows`, the tags of
    several rows of one photo are added up, if no row has several tags.
    """

    def __init__(
        self,
        path: Path,
        format: str,
        options: ReadOptions,
        *,
        numbers_from_zero: bool = False,
        one_tag_rows: bool = False,
    ) -> None:
        self.path, self.format, self.options = path, format, options
        self.notes: list[str] = []
        self.separator: str | None = None
        self.classes = ClassNames(
            options, in_cells=format in CELL_FORMATS, columns=format in TABLES, numbers_from_zero=numbers_from_zero
        )
        self._one_tag_rows = one_tag_rows
        self._names = RowNames(options.images, path.parent)
        self._tags: dict[str, tuple[int, ...]] = {}
        self._lines: array[int] = array("L")
        self._resolved: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._conflict: LabelError | None = None
        self._added_up = self._left_out = self._lists = self._lines_in_cells = 0

    def declare(self, names: Iterable[str], line: int | None = None) -> None:
        """Set the classes and their order before any row; with a given class list, only check them."""
        self.classes.declare(names, (line, self.path))

    def names(self, cell: str) -> tuple[str, ...]:
        """The class names in one cell."""
        cell = cell.strip()
        if not cell:
            return ()
        if self.classes.knows(cell):
            return (cell,)
        listed = read_list_cell(cell)
        if listed is not None:
            self._lists += 1
            return listed
        given = self.options.separator
        if given is None and re.search(r"[\n\r\t]", cell):
            self._lines_in_cells += 1
            return tuple(name for line in re.split(r"[\n\r\t]+", cell) for name in self.names(line))
        separator = given or self.separator
        return (cell,) if separator is None else part(cell, separator, given=given is not None)

    def resolve(self, names: tuple[str, ...], line: int | None, where: Path | None = None) -> tuple[int, ...]:
        """Sorted unique positions of class names. Raises LabelError for a name that cannot be a class."""
        known = self._resolved.get(names)
        if known is None:
            place = (line, where or self.path)
            found = {self.classes.position(name.strip(), place) for name in names}
            found.discard(-1)
            known = self._resolved[names] = tuple(sorted(found))
        return known

    def add(self, name: str, names: tuple[str, ...], line: int | None = None, where: Path | None = None) -> None:
        """One image and its class names, found at `line` of `where` (default: the source itself)."""
        self.add_positions(name, self.resolve(names, line, where), line, where)

    def add_positions(
        self, name: str, tags: tuple[int, ...], line: int | None = None, where: Path | None = None
    ) -> None:
        """Like `add`, for positions returned by `resolve`."""
        if not is_plain(name):
            name = self._names.relative(name, line, where or self.path)
        if tags and tags[0] == LEFT_OUT:
            self._left_out += 1
            return
        before = self._tags.setdefault(name, tags)
        if len(self._tags) > len(self._lines):
            self._lines.append(line or 0)
        elif before != tags:
            self._add_up(name, before, tags, line, where or self.path)

    def add_absent(self, names: Iterable[str]) -> None:
        """Add images for which the source only says what they do not show."""
        for name in names:
            name = name if is_plain(name) else self._names.relative(name, None, self.path)
            self._tags.setdefault(name, ())

    def _add_up(self, name: str, before: tuple[int, ...], tags: tuple[int, ...], line: int | None, where: Path) -> None:
        if self._conflict is None:
            first = self._lines[list(self._tags).index(name)]
            where_first = f" (first on line {first})" if first else ""
            message = f"{name} is listed twice with different tags{where_first}"
            if self._one_tag_rows:
                message += ", and some rows have several tags; write one row per photo, or one tag per row"
            self._conflict = LabelError(message, where, line)
        if not (self._one_tag_rows and before and len(tags) == 1):
            raise self._conflict
        self._tags[name] = tuple(sorted({*before, *tags}))
        self._added_up += 1

    def finish(self) -> LabelTable:
        """The table, with the classes in their final order. Raises LabelError if nothing was found."""
        if self._conflict is not None and any(len(tags) > 1 for tags in self._resolved.values()):
            raise self._conflict
        if not self._tags:
            raise LabelError("lists no image" + (", except skipped ones" if self._left_out else ""), self.path)
        classes, tags = self.classes.finish(), self._tags
        if not classes:
            raise LabelError("names no class", self.path)
        order = [self.classes.index(name) for name in classes]
        if order != list(range(len(classes))):
            new = {old: i for i, old in enumerate(order)}
            moved = {old: tuple(sorted(new[i] for i in old)) for old in set(tags.values())}
            tags = {name: moved[old] for name, old in tags.items()}
        empty = sum(not positions for positions in tags.values())
        counted = (
            (self._lists, "cell", "read as a list, such as ['cat', 'dog']"),
            (self._lines_in_cells, "cell", "split at line breaks or tabs"),
            (self._added_up, "row", "added to an earlier row of the same photo (one tag per row)"),
            (self._left_out, "row", "skipped (--skip-tag)"),
            (self._names.changed, "absolute path", "(or path with ..) made relative to the image folder"),
        )
        notes = [*self.notes, *self.classes.notes, *(f"{count(n, noun)} {what}" for n, noun, what in counted if n)]
        if empty:
            notes.append(f"{empty:,} of {count(len(tags), 'image')} without a class")
        return LabelTable(classes, tags, self.format, str(self.path), tuple(notes))
