"""`folders`: one subfolder of images per class."""

from __future__ import annotations

from pathlib import Path

from pseudomask.data.images import ImageItem, find_images
from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.suspects import is_system, shown, split_names, structure_names
from pseudomask.data.labels.table import LabelTable, ReadOptions
from pseudomask.errors import LabelError, UsageError
from pseudomask.quoting import count, listed, shell_word


def read_folders(path: Path, options: ReadOptions) -> LabelTable:
    """Names are relative to `path` (`cat/x.jpg`); images outside the class folders get no tag.

    With a class list, the class is the outermost folder in the list (`train/cat/x.jpg`).
    """
    try:
        items = find_images(path)
    except UsageError as error:
        raise LabelError(str(error)) from error
    inside = [item for item in items if "/" in item.relative]
    found = list(dict.fromkeys(item.relative.partition("/")[0] for item in inside))
    if not found:
        raise LabelError("has no subfolder with images (expected one subfolder per class)", path)
    if options.classes is None:
        _check(path, [name for name in found if not _is_settled(name, options)], inside)
    builder = TableBuilder(path, "folders", options)
    for item in inside:
        builder.add(item.relative, builder.names(_class_of(item, options)))
    outside = len(items) - len(inside)
    if outside:
        builder.notes.append(f"{count(outside, 'image')} outside the class folders, without tags")
    empty = sorted(p.name for p in path.iterdir() if p.is_dir() and p.name not in found and p.name[0] != ".")
    empty = [name for name in empty if not is_system(name)]
    if empty:
        builder.notes.append(f"folders without images: {listed(empty, 10)}")
    return builder.finish()


def _class_of(item: ImageItem, options: ReadOptions) -> str:
    folders = item.relative.split("/")[:-1]
    if options.classes is None:
        return folders[0]
    known = (name for name in folders if name in options.classes or name.casefold() in options.renames)
    return next(known, folders[0])


def _is_settled(name: str, options: ReadOptions) -> bool:
    return name.casefold() in {*options.skip_tag, *options.no_class, *options.renames}


def _is_deep(top: str, inside: list[ImageItem]) -> bool:
    return any(item.relative.startswith(f"{top}/") and item.relative.count("/") > 1 for item in inside)


def _check(path: Path, found: list[str], inside: list[ImageItem]) -> None:
    """Raise LabelError for folders that are splits, data set parts or system folders, and for classes at two depths."""
    splits = split_names(found)
    if splits and len(splits) == len(found) and not any(map(is_system, splits)):
        raise LabelError(
            f"subfolders are splits, not classes; give one of them ({path / min(found)}), or a --class-file, whose "
            "names are then found at any depth",
            path,
        )
    odd = splits or structure_names(found)
    if odd and len(odd) == len(found) and not splits:
        deeper = next((path / top for top in sorted(found) if _is_deep(top, inside)), None)
        inner = f"{shell_word(str(deeper))} if its folders are the classes, or " if deeper else ""
        raise LabelError(
            f"its folders ({', '.join(found[:4])}) are parts of a data set, not classes; give --labels {inner}with the "
            "file or folder of the tags, or a --class-file that lists the class folders",
            path,
        )
    if odd:
        kind = "a system folder" if is_system(odd[0]) else "a split" if splits else "a part of a data set"
        raise LabelError(
            f"the folder {shown(odd[0])} is {kind}, not a class; give --skip-tag {shell_word(','.join(odd))} to skip "
            "it, or a --class-file that lists the class folders",
            path,
        )
    direct = {item.relative.partition("/")[0] for item in inside if item.relative.count("/") == 1}
    for item in inside:
        top, below, *_ = item.relative.split("/")
        if top in found and top not in direct and below != top:  # cat/cat: as archives are unpacked
            raise LabelError(
                f"{top}/{below} could be class {shown(top)} or {shown(below)}; give a --class-file that lists the "
                f"classes, or --labels {shell_word(str(path / top))}",
                path,
            )
