"""`csv`: comma- or tab-separated tables, and `imagefolder`: metadata.csv / metadata.jsonl."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pseudomask.data.labels.table import LabelTable, ReadOptions, TableBuilder, read_text
from pseudomask.errors import LabelError

FILE_COLUMNS = ("filename", "file_name", "file", "image", "path", "image_path", "filepath", "name")
TAG_COLUMNS = ("labels", "label", "tags", "tag", "classes", "class", "category", "categories")
_ONE_HOT = {"1": True, "0": False, "": False, "1.0": True, "0.0": False}
_ONE_HOT |= {"true": True, "false": False, "True": True, "False": False}

Row = Callable[[list[str], int], tuple[int, ...]]


def read_csv(path: Path, options: ReadOptions) -> LabelTable:
    """A table with a header: `filename,labels` (`;` between names), or a 0/1 column for each class."""
    builder = TableBuilder(path, "csv", options)
    _read_table(read_text(path), builder)
    return builder.finish()


def read_imagefolder(path: Path, options: ReadOptions) -> LabelTable:
    """metadata.csv or metadata.jsonl with `file_name` and `label` or `labels`.

    With a class list given, whole numbers are positions in it, counted from 0 as that format does.
    """
    if path.is_dir():
        found = [path / name for name in ("metadata.csv", "metadata.jsonl") if (path / name).is_file()]
        if not found:
            raise LabelError("holds neither metadata.csv nor metadata.jsonl", path)
        path = found[0]
    builder = TableBuilder(path, "imagefolder", options, numbers_from_zero=True)
    if path.suffix.lower() == ".jsonl":
        _read_json_lines(read_text(path), builder)
    else:
        _read_table(read_text(path), builder)
    return builder.finish()


def looks_like_table(first_line: str) -> bool:
    """Whether a file's first line is a header that `read_csv` understands."""
    cells = next(csv.reader([first_line], delimiter=_delimiter(first_line, "")), [])
    return len(cells) >= 2 and any(cell.strip().lower() in FILE_COLUMNS for cell in cells)


def _delimiter(header: str, suffix: str) -> str:
    if suffix == ".tsv" or ("\t" in header and "," not in header):
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def _read_table(text: str, builder: TableBuilder) -> None:
    path = builder.path
    if not text.strip():
        raise LabelError("is empty", path)
    delimiter = _delimiter(re.split(r"[\r\n]", text[:1_000_000], maxsplit=1)[0], path.suffix.lower())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader)]
        file_column, split_column, tags_of = _understand(header, builder, "," if delimiter == ";" else ";")
        width, split, rows = len(header), builder.options.split, 0
        if split is not None and split_column is None:
            raise LabelError(f"has no 'split' column to take '{split}' from", path, 1)
        for cells in reader:
            if not cells:
                continue
            line = reader.line_num
            if len(cells) != width:
                hint = ": put ';' between class names" if len(cells) > width and delimiter != ";" else ""
                raise LabelError(f"{len(cells)} columns where the header has {width}{hint}", path, line)
            rows += 1
            if split_column is not None and split is not None and cells[split_column].strip() != split:
                continue
            builder.add_positions(cells[file_column].strip(), tags_of(cells, line), line)
    except csv.Error as error:
        raise LabelError(f"not a well-formed table ({error})", path, reader.line_num) from error
    if not rows:
        raise LabelError("has a header but no rows", path)


def _understand(header: list[str], builder: TableBuilder, separator: str) -> tuple[int, int | None, Row]:
    """Which columns hold the file, the split and the tags, and how to read the tags of a row."""
    lower = [name.lower() for name in header]
    files = [lower.index(name) for name in FILE_COLUMNS if name in lower]
    if not files:
        raise LabelError("the first line must be a header such as 'filename,labels'", builder.path, 1)
    doubled = sorted({name for name in header if header.count(name) > 1}) if len(header) < 10_000 else []
    if doubled:
        raise LabelError(f"column '{doubled[0]}' stands twice in the header", builder.path, 1)
    split = lower.index("split") if "split" in lower else None
    tags = [lower.index(name) for name in TAG_COLUMNS if name in lower]
    if tags:
        return files[0], split, _named_tags(tags[0], separator, builder)
    columns = [i for i in range(len(header)) if i not in (files[0], split)]
    if not columns:
        raise LabelError("has no column of labels: write 'filename,labels'", builder.path, 1)
    return files[0], split, _one_hot_tags(header, columns, builder)


def _named_tags(column: int, separator: str, builder: TableBuilder) -> Row:
    known: dict[str, tuple[int, ...]] = {}

    def tags_of(cells: list[str], line: int) -> tuple[int, ...]:
        cell = cells[column]
        tags = known.get(cell)
        if tags is None:
            names = tuple(cell.split(separator)) if cell.strip() else ()
            tags = known[cell] = builder.resolve(names, line)
        return tags

    return tags_of


def _one_hot_tags(header: list[str], columns: list[int], builder: TableBuilder) -> Row:
    builder.declare([header[i] for i in columns], 1)
    positions = {i: builder.resolve((header[i],), 1) for i in columns}  # () for background

    def tags_of(cells: list[str], line: int) -> tuple[int, ...]:
        found: list[int] = []
        for i in columns:
            shown = _ONE_HOT.get(cells[i])
            if shown is None:
                shown = _ONE_HOT.get(cells[i].strip())
            if shown is None:
                raise LabelError(f"'{cells[i]}' in column '{header[i]}' is neither 0 nor 1", builder.path, line)
            if shown:
                found.extend(positions[i])
        return tuple(sorted(found))

    return tags_of


def _read_json_lines(text: str, builder: TableBuilder) -> None:
    if builder.options.split is not None:
        raise LabelError(f"has no 'split' column to take '{builder.options.split}' from", builder.path)
    for line, name, value in _json_rows(text, builder.path):
        values = value if isinstance(value, list) else [] if value in (None, "") else [value]
        for tag in values:
            if not isinstance(tag, str) and (isinstance(tag, bool) or not isinstance(tag, int)):
                raise LabelError(f"label {tag!r} is neither a name nor a whole number", builder.path, line)
        builder.add(name, tuple(str(tag) for tag in values), line)


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, str, object]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise LabelError("not JSON", path, line) from error
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise LabelError("wants an object with a 'file_name'", path, line)
        columns = [name for name in TAG_COLUMNS if name in row]
        if not columns:
            raise LabelError("has neither 'label' nor 'labels'", path, line)
        yield line, row["file_name"], row[columns[0]]
