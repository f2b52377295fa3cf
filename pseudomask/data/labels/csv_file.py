"""`csv`: comma- or tab-separated tables, and `imagefolder`: metadata.csv / metadata.jsonl."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.columns import (
    TAG_COLUMNS,
    Columns,
    RowReader,
    is_header,
    one_hot_row,
    two_columns,
    understand,
)
from pseudomask.data.labels.table import LabelTable, ReadOptions, read_text
from pseudomask.errors import LabelError
from pseudomask.quoting import count, listed

_DELIMITERS = ",\t;|"
_EXCEL_LINE = re.compile(r'"?sep=([^"\r\n])"?\r?\n', re.IGNORECASE)


def read_csv(path: Path, options: ReadOptions) -> LabelTable:
    """A table with a header: `filename,labels` (names separated by `;`), or one 0/1 column per class."""
    builder = TableBuilder(path, "csv", options, one_tag_rows=True)
    _read_table(read_text(path), builder)
    return builder.finish()


def read_imagefolder(path: Path, options: ReadOptions) -> LabelTable:
    """metadata.csv or metadata.jsonl with `file_name` and `label` or `labels`.

    With a given class list, whole numbers are positions in it, counted from 0 as this format does.
    """
    if path.is_dir():
        found = [path / name for name in ("metadata.csv", "metadata.jsonl") if (path / name).is_file()]
        if not found:
            raise LabelError("contains neither metadata.csv nor metadata.jsonl", path)
        path = found[0]
    builder = TableBuilder(path, "imagefolder", options, numbers_from_zero=True, one_tag_rows=True)
    if path.suffix.lower() == ".jsonl":
        _read_json_lines(read_text(path), builder)
    else:
        _read_table(read_text(path), builder)
    return builder.finish()


def looks_like_table(first_line: str) -> bool:
    """Whether a file's first line is a header that `read_csv` reads, or Excel's `sep=;` before one."""
    return _EXCEL_LINE.match(first_line + "\n") is not None or is_header(_cells(first_line, _delimiter(first_line, "")))


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _delimiter(header: str, suffix: str) -> str:
    """The first delimiter that makes the line a header; else the first one that it contains."""
    if suffix == ".tsv" and "\t" in header:
        return "\t"
    there = [one for one in _DELIMITERS if one in header]
    return next((one for one in there if is_header(_cells(header, one))), there[0] if there else ",")


def _read_table(text: str, builder: TableBuilder) -> None:
    path = builder.path
    if not text.strip():
        raise LabelError("is empty", path)
    if "\0" in text:
        raise LabelError("contains NUL bytes, so it is not a text table, or is UTF-16; save it as UTF-8", path)
    excel = _EXCEL_LINE.match(text)
    text, before = (text[excel.end() :], 1) if excel else (text, 0)
    first = re.split(r"[\r\n]", text[:1_000_000], maxsplit=1)[0]
    delimiter = excel[1] if excel else _delimiter(first, path.suffix.lower())
    builder.separator = "," if delimiter == ";" else ";"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        _read_rows(reader, before, builder, several=delimiter != ";")
    except csv.Error as error:
        raise LabelError(f"malformed table ({error})", path, before + reader.line_num) from error


def _read_rows(reader: Any, before: int, builder: TableBuilder, *, several: bool) -> None:
    path, split = builder.path, builder.options.split
    header = [cell.strip() for cell in next(reader, [])]
    while len(header) > 1 and not header[-1]:
        header.pop()
    width, rows, absent = len(header), 0, dict[str, None]()
    columns = understand(header, builder, before + 1)
    tags_of = _row_reader(header, columns, builder, before + 1)
    if split is not None and columns.split is None:
        raise LabelError(f"no 'split' column, so there is no split '{split}'", path, before + 1)
    for cells in reader:
        if not any(map(str.strip, cells)):
            continue  # spreadsheets write rows of formatted but empty cells
        line = before + reader.line_num
        if len(cells) != width:
            _fit(cells, width, path, line, several)
        rows += 1
        if columns.split is not None and split is not None and cells[columns.split].strip() != split:
            continue
        name = cells[columns.file].strip()
        if columns.score is not None and not _counts(cells[columns.score], header[columns.score], path, line):
            absent[name] = None
            continue
        builder.add_positions(name, tags_of(cells, line), line)
    if not rows:
        raise LabelError("has a header but no rows", path)
    if columns.unread:
        builder.notes.append(f"ignored columns: {listed(columns.unread, 5)}")
    if columns.score is not None:
        absent_in = count(len(absent), "photo")
        builder.notes.append(f"rows with 0 in '{header[columns.score]}' were not used as tags (in {absent_in})")
    builder.add_absent(absent)


def _row_reader(header: list[str], columns: Columns, builder: TableBuilder, line: int) -> RowReader:
    if columns.one_hot:
        return one_hot_row(header, columns.tags, builder, line)
    column, known = columns.tags[0], dict[str, tuple[int, ...]]()

    def tags_of(cells: list[str], line: int) -> tuple[int, ...]:
        cell = cells[column]
        tags = known.get(cell)
        if tags is None:
            tags = known[cell] = builder.resolve(builder.names(cell), line)
        return tags

    return tags_of


def _fit(cells: list[str], width: int, path: Path, line: int, several: bool) -> None:
    """Remove empty cells from the end of a row: a separator after the last column is not a column."""
    there = len(cells)
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if len(cells) != width:
        hint = "; separate class names with ';'" if there > width and several else ""
        raise LabelError(f"{count(there, 'column')}, but the header has {width}{hint}", path, line)


def _counts(score: str, column: str, path: Path, line: int) -> bool:
    """Whether a row's score says that its tag is right (1) or wrong (0), as in Open Images' verified labels."""
    try:
        value = float(score.replace(",", "."))
    except ValueError:
        value = -1.0
    if value not in (0.0, 1.0):
        raise LabelError(
            f"'{score[:40]}' in column '{column}' is neither 0 nor 1; keep only the rows that you trust, or use every "
            "row by naming the tag column with --label-column",
            path,
            line,
        )
    return value == 1.0


def _read_json_lines(text: str, builder: TableBuilder) -> None:
    if builder.options.split is not None:
        raise LabelError(f"no 'split' column, so there is no split '{builder.options.split}'", builder.path)
    for line, name, value in _json_rows(text, builder.path, builder.options.label_column):
        values = value if isinstance(value, list) else [] if value in (None, "") else [value]
        for tag in values:
            if not isinstance(tag, str) and (isinstance(tag, bool) or not isinstance(tag, int)):
                raise LabelError(f"label {tag!r} is neither a name nor a whole number", builder.path, line)
        names = tuple(part for tag in values for part in builder.names(str(tag)))
        builder.add(name, names, line)


def _json_rows(text: str, path: Path, wanted: tuple[str, ...]) -> Iterator[tuple[int, str, object]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise LabelError("not JSON", path, line) from error
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise LabelError("needs an object with a 'file_name'", path, line)
        columns = [name for name in wanted or TAG_COLUMNS if name in row]
        if not columns:
            raise LabelError(f"has neither {' nor '.join(map(repr, wanted or ('label', 'labels')))}", path, line)
        if len(columns) > 1:
            raise LabelError(two_columns(columns[0], columns[1]), path, line)
        yield line, row["file_name"], row[columns[0]]
