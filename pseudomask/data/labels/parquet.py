"""`parquet`: an image data set of Hugging Face, of which only names and labels are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.columns import FILE_COLUMNS, TAG_COLUMNS, plain
from pseudomask.data.labels.table import LabelTable, ReadOptions
from pseudomask.errors import LabelError, SetupError

_ROWS = 4096


def read_parquet(path: Path, options: ReadOptions) -> LabelTable:
    """A Parquet file, or a folder of its shards: a column of photo names or of images with a `path`, one of labels.

    Numbers mean the names that Hugging Face's `ClassLabel` keeps in the file. Raises SetupError without pyarrow.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise SetupError("Parquet files need the extra [hub]: pip install 'pseudomask[hub]'") from error
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    builder = TableBuilder(path, "parquet", options, numbers_from_zero=True, one_tag_rows=True)
    try:
        for file in files:
            _read(parquet.ParquetFile(file), file, builder)
    except (ArrowException, OSError) as error:
        raise LabelError(f"cannot be read as Parquet ({str(error).splitlines()[0][:120]})", file) from error
    return builder.finish()


def _read(table: Any, file: Path, builder: TableBuilder) -> None:
    schema = table.schema_arrow
    photo = _column(schema.names, (builder.options.image_column or "",), FILE_COLUMNS, "--image-column", file)
    tag = _column(schema.names, builder.options.label_column, TAG_COLUMNS, "--label-column", file)
    names = _class_names(schema, tag)
    if names:
        builder.declare(names)
    column = f"{photo}.path" if str(schema.field(photo).type).startswith("struct") else photo  # not the photos' bytes
    for batch in table.iter_batches(_ROWS, columns=[column, tag]):
        for row in batch.to_pylist():
            found = row[photo]["path"] if isinstance(row[photo], dict) else row[photo]
            if not isinstance(found, str):
                raise LabelError("its photos have no names, so they cannot be matched with files", file)
            values = row[tag] if isinstance(row[tag], list) else [] if row[tag] is None else [row[tag]]
            builder.add(found, tuple(part for value in values for part in _named(value, names, builder, file)))


def _named(value: Any, names: tuple[str, ...], builder: TableBuilder, file: Path) -> tuple[str, ...]:
    if isinstance(value, int) and names:
        if not 0 <= value < len(names):
            raise LabelError(f"label {value}, but the file names {len(names)} classes", file)
        return (names[value],)
    if isinstance(value, str) or type(value) is int:
        return builder.names(str(value))
    raise LabelError(f"label {value!r} is neither a name nor a whole number", file)


def _column(there: list[str], wanted: tuple[str, ...], usual: tuple[str, ...], flag: str, file: Path) -> str:
    chosen = [name for name in wanted if name]
    found = [name for name in there if (name in chosen if chosen else plain(name) in usual)]
    if len(found) != 1:
        raise LabelError(f"name the right column with {flag} (columns: {', '.join(there[:8])})", file)
    return found[0]


def _class_names(schema: Any, column: str) -> tuple[str, ...]:
    """The names of a ClassLabel, or of a list of them; () if the file has none."""
    try:
        facts = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        while isinstance(facts, list) or "names" not in facts:
            facts = facts[0] if isinstance(facts, list) else facts["feature"]
        return tuple(map(str, facts["names"]))
    except (KeyError, TypeError, ValueError, IndexError):
        return ()
