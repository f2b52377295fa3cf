"""What a folder that extract or refine wrote tells of its images; the files that are there, found by walking.

A manifest only describes files that were found: no path in it is followed, so that a page never shows what lies
outside the folders that the caller named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.data.images import ImageItem, find_images
from pseudomask.data.names import NameIndex
from pseudomask.errors import UsageError
from pseudomask.files import read_bytes
from pseudomask.measuring.pairing import find_files
from pseudomask.reporting.text import clean
from pseudomask.running.folder_run import DONE, FAILED
from pseudomask.running.inputs import changed_since
from pseudomask.running.jsonable import jsonable
from pseudomask.running.layout import MANIFEST, RECORD
from pseudomask.running.manifest import Entry, Manifest


@dataclass(frozen=True)
class Made:
    """A folder of masks: its record ({} where there is none), manifest lines by key, score files' keys, photos."""

    out: Path
    record: Mapping[str, Any]
    entries: Mapping[str, Entry]
    scores: frozenset[str]
    images: Path | None
    photos: NameIndex[ImageItem] | None = field(repr=False)

    def photo(self, key: str) -> str | None:
        """The photo's path below `images`: that of the manifest's line, else the one that the key names."""
        if self.photos is None:
            return None
        told = self.entries.get(key, {}).get("image")
        found = self.photos.exact(told) if isinstance(told, str) else None
        if found is None:
            several = self.photos.find(key)
            found = several[0] if len(several) == 1 else None
        return None if found is None else found.relative

    def score_file(self, key: str) -> str | None:
        """The score file's path below `out`/scores."""
        return f"{key}.npz" if key in self.scores else None

    def changed(self) -> list[str]:
        """Photos that are not what their masks were made from."""
        if self.images is None:
            return []
        pairs = ((self.photo(key), entry) for key, entry in self.entries.items() if entry.get("status") == DONE)
        config = self.record.get("config")
        made_from = config.get("images") if isinstance(config, dict) else None
        return changed_since(((name, entry) for name, entry in pairs if name is not None), self.images, made_from)

    def failures(self) -> list[tuple[str, str]]:
        """(image, reason) of what the manifest calls failed."""
        return [
            (str(entry.get("image", key)), str(entry.get("reason", "")))
            for key, entry in self.entries.items()
            if entry.get("status") == FAILED
        ]

    def config(self) -> str:
        """The recorded settings as text."""
        config = self.record.get("config")
        if not config:
            return ""
        return "\n".join(clean(line) for line in json.dumps(jsonable(config), indent=2).splitlines())


def read_folder(pred: Path, images: Path | None) -> Made:
    """What is known of `pred` (a folder of masks, or its `scores`).

    images: folder of the photos; None takes that of the record, where it is still there. Raises UsageError for a
    manifest or record that cannot be read, and for `images` that is no folder with images.
    """
    inside = pred.name == "scores" and (pred.parent / RECORD).is_file()
    out = pred.parent if inside else pred
    record = _record(out / RECORD)
    folder, photos = _photos(images, record, out)
    scores = out / "scores"
    return Made(
        out=out,
        record=record,
        entries=Manifest(out / MANIFEST).load(),
        scores=frozenset(file.key for file in find_files(scores, ".npz")) if scores.is_dir() else frozenset(),
        images=folder,
        photos=photos,
    )


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(read_bytes(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path} ({error}); repair or remove it") from error
    return record if isinstance(record, dict) else {}


def _photos(
    asked: Path | None, record: Mapping[str, Any], out: Path
) -> tuple[Path | None, NameIndex[ImageItem] | None]:
    """The photos asked for; else the run's, if they are where they were (a relative path is one from here)."""
    config = record.get("config")
    told = config.get("images") if isinstance(config, dict) else None
    if asked is None and (not isinstance(told, str) or not told or "\0" in told):
        return None, None
    folder = asked or Path(str(told))
    try:
        return folder, NameIndex(find_images(folder, exclude=out))
    except UsageError:
        if asked is not None:
            raise
        return None, None


def class_names(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The record's classes with background first; only background where it has none."""
    classes = record.get("classes")
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return ("background", *(classes if named and classes else ()))
