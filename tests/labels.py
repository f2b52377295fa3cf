"""`read_labels` with its settings as keywords."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pseudomask.config.common import TagOptions
from pseudomask.data.labels import LabelTable
from pseudomask.data.labels import read_labels as read

_FIELDS = {"format": "label_format", "split": "label_split", "separator": "tag_separator"}


def read_labels(
    path: Path, *, classes: Sequence[str] | None = None, images: Path | None = None, **settings: Any
) -> LabelTable:
    """The labels in `path`; `settings` are those of `TagOptions`, sequences of names are joined by commas."""
    given = {
        _FIELDS.get(name, name): ",".join(value) or None if isinstance(value, list | tuple) else value
        for name, value in settings.items()
    }
    return read(path, TagOptions(labels=path, **given), classes=classes, images=images)
