"""`text`: lines of `path class class`; `per-image`: one small file beside each image."""

from __future__ import annotations

import re
from pathlib import Path

from pseudomask.data.images import find_images
from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.cells import read_list_cell
from pseudomask.data.labels.table import LabelTable, ReadOptions, read_json, read_text
from pseudomask.data.names import is_comment
from pseudomask.errors import LabelError, UsageError

Row = tuple[int, str, list[str]]
"""Line, image, tags."""
_YOLO = re.compile(r"\d+(\s+[-+.\deE]+){4,}")
_NOT_LABELS = frozenset({"classes.txt", "labels.txt", "readme.txt", "class_names.txt", "notes.json"})


def read_text_lines(path: Path, options: ReadOptions) -> LabelTable:
    """One line per image: its path, then its classes, separated by tabs if the line has one, otherwise by spaces.

    Or, after a line with all classes, -1 or 1 (0 or 1) for each class (CelebA's `list_attr`).

    Tabs allow spaces in paths and class names. A path alone shows no class. Blank lines and lines
    starting with `# ` are skipped.
    """
    builder = TableBuilder(path, "text", options, one_tag_rows=True)
    rows: list[Row] = []
    for line, content in enumerate(read_text(path).split("\n"), start=1):
        content = content.strip(" \r")
        if not content.strip() or is_comment(content):
            continue
        name, *names = _fields(content, options)
        rows.append((line, name.strip(), [tag for tag in names if tag]))
    if not any(names for _, _, names in rows):
        raise LabelError("no line has a class after the image, as in 'photo.jpg cat dog'", path)
    classes = options.classes
    header = _attribute_names(rows)
    if header:
        builder.declare(header, rows[0][0])
        classes = tuple(header)
        rows = [row for row in rows if len(row[2]) == len(header)]
    width = _one_hot_width(rows)
    if width and classes is None:
        raise LabelError(
            f"0 and 1 after each image look like one column per class; give --class-file with the {width} names in "
            "column order",
            path,
            rows[0][0],
        )
    if width and classes is not None and width == len(classes):
        no = next(tag for _, _, tags in rows for tag in tags if tag != "1")
        builder.notes.append(f"{no} and 1 after each image were read as one column per class")
        rows = [
            (line, name, [c for c, tag in zip(classes, tags, strict=True) if tag == "1"]) for line, name, tags in rows
        ]
    for line, name, names in rows:
        builder.add(name, tuple(part for tag in names for part in builder.names(tag)), line)
    return builder.finish()


def _fields(content: str, options: ReadOptions) -> list[str]:
    """The path and tags of a line; all tags in one field if the user gave a separator or they are a list."""
    if "\t" in content:
        return content.split("\t")
    name, *rest = content.split(maxsplit=1)
    whole = rest and (options.separator is not None or read_list_cell(rest[0]) is not None)
    return [name, *rest] if whole else content.split()


def _one_hot_width(rows: list[Row]) -> int:
    """The number of 0/1 (or -1/1) columns in every line; 0 if the tags are names."""
    width = len(rows[0][2])
    values = {tag for _, _, tags in rows for tag in tags}
    two = values in ({"0"}, {"0", "1"}, {"-1"}, {"-1", "1"})
    return width if two and all(len(tags) == width for _, _, tags in rows) else 0


def _attribute_names(rows: list[Row]) -> list[str]:
    """The column names in a line before the rows, as in CelebA; otherwise none.

    CelebA's first line is the number of rows.
    """
    counted = rows[0][1].isdigit() and not rows[0][2]
    (_, first, more), body = rows[counted], rows[counted + 1 :]
    names = [first, *more]
    return names if body and _one_hot_width(body) == len(names) and not {*names} & {"0", "1", "-1"} else []


def label_files(folder: Path) -> list[Path]:
    """The files of a folder that may each hold the labels of one image.

    If the folder also has images: only the files beside an image of the same stem.
    """
    files = [*folder.rglob("*.json"), *folder.rglob("*.txt")]
    files = sorted(f for f in files if f.name.lower() not in _NOT_LABELS and not f.name.startswith("."))
    try:
        images = {item.key for item in find_images(folder)}
    except UsageError:
        return files
    return [f for f in files if f.relative_to(folder).with_suffix("").as_posix() in images]


def read_per_image(path: Path, options: ReadOptions) -> LabelTable:
    """`x.json` of labelme (true `flags`, labels of `shapes`) or `x.txt` (one class per line)."""
    builder = TableBuilder(path, "per-image", options)
    files = label_files(path)
    if not files:
        raise LabelError("contains no .json or .txt label file", path)
    for file in files:
        name = file.relative_to(path).with_suffix("").as_posix()
        if file.suffix == ".json":
            builder.add(name, _labelme(file), where=file)
            continue
        positions: set[int] = set()
        for line, content in enumerate(read_text(file).split("\n"), start=1):
            tag = content.strip()
            if _YOLO.fullmatch(tag):
                raise LabelError("contains YOLO boxes, which are not supported; write one class per line", file, line)
            if tag:
                positions.update(builder.resolve(builder.names(tag), line, file))
        builder.add_positions(name, tuple(sorted(positions)), where=file)
    return builder.finish()


def _labelme(file: Path) -> tuple[str, ...]:
    """Class names of one labelme file, each once."""
    data = read_json(file)
    if not isinstance(data, dict) or not ("flags" in data or "shapes" in data):
        raise LabelError("is not a labelme file (no 'flags' and no 'shapes')", file)
    flags, shapes = data.get("flags") or {}, data.get("shapes") or []
    if not isinstance(flags, dict) or not isinstance(shapes, list):
        raise LabelError("'flags' is not an object, or 'shapes' is not a list", file)
    names = [name for name, shown in flags.items() if shown is True]
    for shape in shapes:
        label = shape.get("label") if isinstance(shape, dict) else None
        if not isinstance(label, str):
            raise LabelError("a shape has no label", file)
        names.append(label)
    return tuple(dict.fromkeys(names))
