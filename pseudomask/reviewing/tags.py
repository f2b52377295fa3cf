"""Tags as a reviewer corrects them, in a table of their own beside the masks; the run's label file stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from pseudomask.config.common import TagOptions
from pseudomask.data.labels import match, read_classes, read_labels
from pseudomask.data.review import table_text
from pseudomask.errors import UsageError
from pseudomask.quoting import quoted
from pseudomask.reporting.folder import PageFolder
from pseudomask.running.atomic import atomic_text
from pseudomask.running.layout import is_below
from pseudomask.running.manifest import DONE, Entry
from pseudomask.suggest import which_of

FILE, CLASSES = "review-tags.csv", "review-classes.txt"

Names = tuple[str, ...]


class Tags:
    """The tags of a folder's photos, by key: those that each mask was made from, and the corrected ones.

    The table has every photo whose tags are known, so that it can stand in for the label file. Raises `LabelError` if
    an earlier review's table cannot be read.
    """

    def __init__(self, made: PageFolder) -> None:
        self.made, self.classes = made, made.classes or ()
        self.path, self.class_file = made.path / FILE, made.path / CLASSES
        named = {key: str(entry.get("image", "")) for key, entry in made.entries.items()}
        self._photos = {key: photo for key, photo in named.items() if is_below(photo)}
        self._corrected: dict[str, Names] = {}
        if self.classes and self.path.exists():
            table = read_labels(self.path, TagOptions(), classes=self.classes)
            rows = {photo: tuple(table.classes[i] for i in tags) for photo, tags in table.tags.items()}
            self._corrected = {key: rows[photo] for key, photo in self._photos.items() if photo in rows}

    def of(self, key: str) -> Names:
        """The tags to show."""
        return self._corrected.get(key, self._made_from(key))

    def is_marked(self, key: str) -> bool:
        """Whether the mask was made from other tags."""
        return key in self._corrected and not (self._is_given(key) and self._same(key, self._corrected[key]))

    def marked(self) -> list[str]:
        """The keys of all such masks."""
        return [key for key in self._corrected if self.is_marked(key)]

    def put(self, key: str, names: Names) -> None:
        """Write the table with these tags of one photo. Raises `PseudomaskError` if it cannot be written."""
        photo = self._photos.get(key, "")
        if photo != photo.strip() or not photo:
            raise UsageError(f"no table of tags can name {quoted(photo or key)}")
        corrected = {**self._corrected, key: names}
        if not self._is_given(key) and self._same(key, names):
            del corrected[key]  # what the classifier chose
        given = {key: self._made_from(key) for key in self._photos if self._is_given(key)}
        rows = self._without_mask() | {self._photos[key]: tags for key, tags in (given | corrected).items()}
        table = [("filename", "labels"), *((photo, _cell(rows[photo])) for photo in sorted(rows))]
        atomic_text(self.class_file, "".join(f"{name}\n" for name in self.classes), durable=True)
        atomic_text(self.path, table_text(table), durable=True)
        self._corrected = corrected

    def parse(self, text: str) -> Names:
        """The classes that a person wrote, separated by `;` or `,`, in the folder's order.

        Raises `UsageError`, with the nearest classes, for a name that is none of them.
        """
        for separators in ("", ";", ";,"):  # a name may contain them
            parts = re.split(f"[{separators}]", text) if separators else [text]
            names = [part.strip() for part in parts if part.strip()]
            found = [self._class(name) for name in names]
            if None not in found:
                return tuple(name for name in self.classes if name in found)
        unknown = names[found.index(None)]
        raise UsageError(f"no class is called {quoted(unknown[:60])}; {which_of(unknown[:200], self.classes)}")

    def _class(self, name: str) -> str | None:
        alike = [one for one in self.classes if one.casefold() == name.casefold()]
        return name if name in self.classes else alike[0] if len(alike) == 1 else None

    def _entry(self, key: str) -> Entry:
        return self.made.entries.get(key, {})

    def _is_given(self, key: str) -> bool:
        entry = self._entry(key)
        return entry.get("status") == DONE and entry.get("tags") == "labels"

    def _made_from(self, key: str) -> Names:
        named = self._entry(key).get("classes")
        return tuple(name for name in self.classes if name in named) if isinstance(named, list) else ()

    def _same(self, key: str, names: Names) -> bool:
        return {*names} == {*self._made_from(key)}

    def _without_mask(self) -> dict[str, Names]:
        """The tags of photos that have no mask yet, from the run's own labels where these can be read, by photo."""
        photos, options = self.made.photos, _tag_options(self.made.config)
        items = [one for one in photos.items if self._entry(one.key).get("status") != DONE] if photos else []
        if not items or options is None or options.labels is None:
            return {}
        with suppress(UsageError, OSError):
            classes = read_classes(options.class_file) if options.class_file else None
            table = read_labels(options.labels, options, classes=classes, images=self.made.photos_folder)
            tags = match(items, table).tags
            names = {item.relative: {table.classes[i] for i in tags[item.key]} for item in items if item.key in tags}
            return {photo: tuple(name for name in self.classes if name in row) for photo, row in names.items()}
        return {}


def _tag_options(config: Mapping[str, Any]) -> TagOptions | None:
    """How the run read its labels; None if its record does not tell."""
    paths = ("labels", "class_file")
    given: dict[str, Any] = {
        one.name: config[one.name] for one in fields(TagOptions) if config.get(one.name) is not None
    }
    try:
        return TagOptions(**given | {name: Path(given[name]) for name in paths if name in given})
    except (TypeError, ValueError):
        return None


def _cell(names: Sequence[str]) -> str:
    """Names in one cell; a list where one of several holds the separator."""
    if len(names) > 1 and any(";" in name for name in names):
        return json.dumps(names, ensure_ascii=False)
    return ";".join(names)
