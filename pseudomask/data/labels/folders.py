"""`folders`: one subfolder a class, holding its images."""

from __future__ import annotations

from pathlib import Path

from pseudomask.data.images import find_images
from pseudomask.data.labels.table import LabelTable, ReadOptions, TableBuilder
from pseudomask.errors import LabelError, UsageError

_SPLITS = frozenset({"train", "val", "valid", "validation", "test", "trainval"})


def read_folders(path: Path, options: ReadOptions) -> LabelTable:
    """Names are relative to `path` (`cat/x.jpg`); images beside the class folders get no tag."""
    try:
        items = find_images(path)
    except UsageError as error:
        raise LabelError(str(error)) from error
    builder = TableBuilder(path, "folders", options)
    outside = 0
    for item in items:
        name, slash, _ = item.relative.partition("/")
        if slash:
            builder.add(item.relative, (name,))
        else:
            outside += 1
    found = {item.relative.partition("/")[0] for item in items if "/" in item.relative}
    if not found:
        raise LabelError("has no subfolder with images (one subfolder a class is expected)", path)
    if found <= _SPLITS:
        raise LabelError(f"subfolders are splits, not classes: give one of them ({path / min(found)})", path)
    if outside:
        builder.notes.append(f"{outside:,} images outside the class folders carry no tag")
    empty = sorted(p.name for p in path.iterdir() if p.is_dir() and p.name not in found and p.name[0] != ".")
    if empty:
        builder.notes.append(f"no image in: {', '.join(empty[:10])}")
    return builder.finish()
