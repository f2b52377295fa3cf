"""Find the columns of a table that name the photo and hold the tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.class_names import LEFT_OUT
from pseudomask.data.labels.foreign import foreign_header
from pseudomask.data.labels.suspects import is_missing, words
from pseudomask.errors import LabelError
from pseudomask.quoting import shell_word
from pseudomask.suggest import nearest

FILE_COLUMNS = (
    *("filename", "file", "image", "path", "imagepath", "filepath", "name", "imagename", "imagefile", "imgname"),
    *("imgpath", "imageid", "img", "photo", "picture", "id"),
)
TAG_COLUMNS = ("labels", "label", "tags", "tag", "classes", "class", "category", "categories")
_MORE_TAG_COLUMNS = ("labelname", "classname", "categoryname", "classlabel")
_OTHER_COLUMNS = words(
    "index idx unnamed width height w h depth channels size xmin ymin xmax ymax x y x1 y1 x2 y2 bbox url source "
    "originalurl thumbnail license author title date time timestamp createdat updatedat comment comments note notes "
    "md5 sha1 sha256 hash fold subset partition dataset lat lon latitude longitude annotator isoccluded istruncated "
    "isgroupof isdepiction isinside"
)
_SCORE_COLUMNS = frozenset({"confidence", "score", "scores", "probability", "prob"})

_SHOWN = words("1 true t yes y x ✓ ✔ ☑ on wahr vrai verdadero vero oui ja si sí")
_NOT_SHOWN = words("0 false f no n off falsch faux falso non nein ☐ ✗ ✘") | {""}
_DECIMAL = re.compile(r"(-?[01])[.,]0*")


def plain(name: str) -> str:
    """A column's name in lower case, without spaces, `_` and `-`."""
    return re.sub(r"[\s_-]+|:\s*\d+$|\.\d+$", "", name.lower())


def is_header(cells: Sequence[str]) -> bool:
    """Whether `cells` are the header of a label table."""
    return len(cells) >= 2 and any(plain(cell) in FILE_COLUMNS for cell in cells)


def is_shown(cell: str) -> bool | None:
    """Whether a cell of a 0/1 column says yes or no; None for anything else."""
    cell = _plain_cell(cell)
    return True if cell in _SHOWN else False if cell in _NOT_SHOWN else None


def _plain_cell(cell: str) -> str:
    cell = cell.strip().casefold()
    decimal = _DECIMAL.fullmatch(cell)
    return decimal[1] if decimal else cell


@dataclass(frozen=True)
class Columns:
    """Positions in the header. `tags`: one column of names, or (`one_hot`) a column for each class."""

    file: int
    split: int | None
    score: int | None
    tags: tuple[int, ...]
    one_hot: bool
    unread: tuple[str, ...]


def understand(header: list[str], builder: TableBuilder, line: int) -> Columns:
    """The role of each column. Raises LabelError, naming the option that settles it, if it is unclear."""
    names = [plain(name) for name in header]
    options = builder.options
    what = foreign_header(name.lower() for name in header)
    if what and not (options.label_column and options.image_column):
        raise LabelError(f"is {what}", builder.path, line)
    file = _file_column(header, names, builder, line)
    _check_doubled(header, builder.path, line)
    split = names.index("split") if "split" in names and "split" not in map(plain, options.label_column) else None
    chosen = [_named(name, header, builder.path, line, "--label-column") for name in options.label_column]
    tags = chosen or [i for i, name in enumerate(names) if name in (*TAG_COLUMNS, *_MORE_TAG_COLUMNS) and i != file]
    if len(tags) > 1 and not chosen:
        raise LabelError(two_columns(header[tags[0]], header[tags[1]]), builder.path, line)
    scores = [i for i, name in enumerate(names) if name in _SCORE_COLUMNS and i not in tags] if not chosen else []
    one_hot = len(tags) != 1
    if not tags:
        tags = [i for i in range(len(header)) if i not in (file, split) and _may_be_class(header[i], builder)]
        scores = []
    if not tags:
        others = [name for i, name in enumerate(header) if i != file and name]
        hint = f", or name one with --label-column (columns: {', '.join(others[:8])})" if others else ""
        raise LabelError(f"no label column found; write 'filename,labels'{hint}", builder.path, line)
    unread = tuple(header[i] for i in range(len(header)) if header[i] and i not in (file, split, *tags, *scores))
    return Columns(file, split, scores[0] if scores else None, tuple(tags), one_hot, unread)


def two_columns(first: str, second: str) -> str:
    """The message about two columns that could both contain the tags."""
    return (
        f"'{first}' and '{second}' could both contain the tags; give --label-column {shell_word(first)} or "
        f"--label-column {shell_word(second)}"
    )


def _check_doubled(header: list[str], path: Path, line: int) -> None:
    doubled = sorted({name for name in header if name and header.count(name) > 1}) if len(header) < 10_000 else []
    if doubled:
        raise LabelError(f"duplicate column '{doubled[0]}' in the header", path, line)


def _file_column(header: list[str], names: list[str], builder: TableBuilder, line: int) -> int:
    if builder.options.image_column is not None:
        return _named(builder.options.image_column, header, builder.path, line, "--image-column")
    chosen = {plain(name) for name in builder.options.label_column}
    files = [names.index(name) for name in FILE_COLUMNS if name in names and name not in chosen]
    if not files:
        listed = ", ".join(name for name in header[:8] if name)
        raise LabelError(
            "the first line must be a header such as 'filename,labels'; if it is, name the column of photo names with "
            f"--image-column (columns: {listed})",
            builder.path,
            line,
        )
    return files[0]


def _named(name: str, header: list[str], path: Path, line: int, option: str) -> int:
    lower = [one.lower() for one in header]
    if name.strip().lower() not in lower:
        close = nearest(name, header)
        hint = f"did you mean '{close}'?" if close else f"the columns are {', '.join(header[:8])}"
        raise LabelError(f"no column '{name}' ({option}): {hint}", path, line)
    return lower.index(name.strip().lower())


def _may_be_class(name: str, builder: TableBuilder) -> bool:
    if builder.classes.knows(name):
        return True
    return bool(name) and plain(name) not in _OTHER_COLUMNS and plain(name) not in FILE_COLUMNS


def one_hot_row(header: list[str], columns: Sequence[int], builder: TableBuilder, line: int) -> RowReader:
    """A reader of rows with one 0/1 column per class.

    -1 means no if it is the table's only no, as in CelebA; beside 0 or empty cells it may mean uncertain (CheXpert).
    """
    builder.declare([header[i] for i in columns], line)
    positions = {i: builder.resolve((header[i],), line) for i in columns}  # () for background
    known: dict[str, bool] = {}
    noes = set[str]()
    minus = list[tuple[str, int]]()  # cells that say -1, and their columns

    def judge(cell: str, column: int, line: int) -> bool:
        word, shown = cell.strip().casefold(), is_shown(cell)
        if word in builder.options.no_class:
            shown = False
        elif shown is None and _plain_cell(cell) == "-1":
            shown = False
            minus.append((cell, column))
        elif shown is False:
            noes.add(word)
        if shown is None or (noes and minus):
            cell, column = (cell, column) if shown is None else minus[0]
            raise LabelError(_neither(cell, column, header, columns), builder.path, line)
        if cell.strip() not in ("0", "1", "") and len(known) < 10:
            builder.notes.append(f"'{cell.strip()}' was read as {int(shown)}")
        return shown

    def tags_of(cells: list[str], line: int) -> tuple[int, ...]:
        found: list[int] = []
        for i in columns:
            cell = cells[i]
            if cell.strip().casefold() in builder.options.skip_tag:
                return (LEFT_OUT,)
            if cell not in known:
                known[cell] = judge(cell, i, line)
            if known[cell]:
                found.extend(positions[i])
        return tuple(sorted(found))

    return tags_of


def _neither(cell: str, column: int, header: list[str], columns: Sequence[int]) -> str:
    name, others = header[column], ",".join(header[i] for i in columns if i != column)
    advice = f"give --label-column {shell_word(name)} if it contains the tags"
    if is_missing(cell.strip()) or _plain_cell(cell) == "-1":
        word = shell_word(cell.strip())
        advice = f"give --no-class {word} to count it as 0, or --skip-tag {word} to skip such rows"
    elif re.fullmatch(r"0?[.,]\d+", cell.strip()):
        advice = "is it a score? Write 1 if the photo shows the class, otherwise 0"
    elif not re.fullmatch(r"-?\d*[.,]?\d+([eE][+-]?\d+)?", cell.strip()):
        advice += ", or name the class columns with --label-column"
    elif others:
        advice = f"name the class columns, such as --label-column {shell_word(others)}"
    return f"'{cell[:60]}' in column '{name}' is neither 0 nor 1: {advice}"


RowReader = Callable[[list[str], int], tuple[int, ...]]
"""(cells, line) → positions of the row's classes."""
