"""`label-studio`: a Label Studio export as JSON or JSON-MIN."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.foreign import foreign_json
from pseudomask.data.labels.table import LabelTable, ReadOptions, read_json
from pseudomask.errors import LabelError
from pseudomask.quoting import count

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio puts it before the names of uploaded files
_NOT_TAGS = {
    *("id", "image", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"),
    *("predictions", "data", "annotations"),
}


def read_label_studio(path: Path, options: ReadOptions) -> LabelTable:
    """The choices of each task, and the labels of its regions; tasks that nobody finished have no row.

    Raises LabelError if annotations of one task disagree and none is marked as ground truth.
    """
    rows = read_json(path)
    what = foreign_json(rows)
    if what:
        raise LabelError(f"is {what}", path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise LabelError("not a COCO file (not an object) and not a Label Studio export (not a list of tasks)", path)
    builder, unfinished = TableBuilder(path, "label-studio", options), 0
    for i, row in enumerate(rows):
        task = f"task {row.get('id', i)}"
        data = row.get("data", row)
        image = data.get("image") if isinstance(data, dict) else None
        if not isinstance(image, str):
            raise LabelError(f"{task} has no 'image'; is it a project about photos?", path)
        names = _of_task(row, task, path) if "data" in row else _of_min(row)
        if names is None:
            unfinished += 1
        else:
            builder.add(photo_name(image), names)
    if unfinished:
        builder.notes.append(f"{count(unfinished, 'task')} without a finished annotation left out")
    return builder.finish()


def photo_name(address: str) -> str:
    """The file's name in an address: /data/upload/1/0a1b2c3d-a.jpg, /data/local-files/?d=sub/a.jpg, or a URL."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    if local:
        return local[0].lstrip("/")
    found = unquote(parts.path).lstrip("/") if parts.scheme or address.startswith("/data/") else address
    if "/upload/" in f"/{found}":
        return _UPLOADED.sub("", found.rpartition("/")[2], count=1)
    return found


def _of_task(row: dict[str, Any], task: str, path: Path) -> tuple[str, ...] | None:
    """The names that its annotations give; None if there is none."""
    there = row.get("annotations", row.get("completions", []))
    if not isinstance(there, list) or not all(isinstance(one, dict) for one in there):
        raise LabelError(f"{task}: 'annotations' is not a list of objects; export the project as JSON", path)
    done = [one for one in there if not one.get("was_cancelled")]
    done = [one for one in done if one.get("ground_truth")] or done
    found = [tuple(dict.fromkeys(_names(one.get("result", [])))) for one in done]
    if len({frozenset(names) for names in found}) > 1:
        raise LabelError(f"{task} has annotations that disagree; mark one as ground truth in Label Studio", path)
    return found[0] if found else None


def _of_min(row: dict[str, Any]) -> tuple[str, ...]:
    """The names in the columns of JSON-MIN, which are called as in the project's labelling interface."""
    texts = {name for name, value in row.items() if name not in _NOT_TAGS and isinstance(value, str)}
    columns = texts & {"choice", "choices", "label", "labels", "tag", "tags"} or texts
    found = [row[name] for name in sorted(columns)] if len(columns) == 1 else []
    found += _names([value for name, value in row.items() if name not in _NOT_TAGS])
    return tuple(dict.fromkeys(found))


def _names(value: Any) -> Iterator[str]:
    """All names in lists of choices and of regions' labels, however deep."""
    if isinstance(value, list):
        for one in value:
            yield from _names(one)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "choices" or key.endswith("labels"):
                yield from (inner,) if isinstance(inner, str) else (name for name in inner if isinstance(name, str))
            elif isinstance(inner, list | dict):
                yield from _names(inner)
