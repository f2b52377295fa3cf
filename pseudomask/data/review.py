"""A table of what a person says about each mask, by which verbs that use masks leave some out."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from pseudomask.config.review import ReviewOptions
from pseudomask.data.labels.table import read_text
from pseudomask.data.names import Named, NameIndex
from pseudomask.errors import LabelError, UsageError
from pseudomask.quoting import count
from pseudomask.running.atomic import atomic_text
from pseudomask.running.reporter import Reporter
from pseudomask.suggest import did_you_mean

VERDICTS = GOOD, BAD, UNSURE = ("good", "bad", "unsure")
HEADER = ("photo", "verdict", "note")
_QUOTE = '"'


class Keyed(Protocol):
    """A mask, by the key of its photo."""

    @property
    def key(self) -> str: ...


T = TypeVar("T", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row: `verdict` is one of `VERDICTS`, or empty if there is only a note; `line`: where it was read."""

    verdict: str = ""
    note: str = ""
    line: int = field(default=0, compare=False)


def read_review(path: Path) -> dict[str, Verdict]:
    """The rows by photo, in the file's order.

    Columns may be separated by commas, semicolons or tabs; columns other than `HEADER` are ignored. Raises
    `LabelError`, with the line, for a file that is no such table, an unknown verdict, or two rows that disagree.
    """
    text = read_text(path)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: dict[str, Verdict] = {}
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if missing := [name for name in HEADER[:2] if name not in header]:
            raise LabelError(f"no column '{missing[0]}'; its first line must be {','.join(HEADER)}", path, 1)
        for cells in reader:
            row = dict(zip(header, cells, strict=False))
            if any(map(str.strip, cells)):
                _add(found, row, path, reader.line_num)
    except csv.Error as error:
        raise LabelError(f"malformed table ({error})", path, reader.line_num) from error
    return found


def write_review(path: Path, rows: Iterable[tuple[str, Verdict]]) -> None:
    """Write (photo, verdict) rows, on disk when this returns; byte for byte the file that the page of `report` saves.

    Raises `PseudomaskError` if it cannot be written; an existing file is then unchanged.
    """
    table = table_text([HEADER, *((photo, row.verdict, row.note) for photo, row in rows)])
    atomic_text(path, f"\ufeff{table}", durable=True)  # spreadsheets take a file without the mark for Latin-1


def table_text(lines: Iterable[Sequence[str]]) -> str:
    """The text of a table, quoted as the page's own script does it."""
    return "".join(f"{','.join(map(_cell, line))}\r\n" for line in lines)


def _cell(text: str) -> str:
    return f'"{text.replace(_QUOTE, 2 * _QUOTE)}"' if re.search(r'[",;\t\r\n]', text) else text


def _add(found: dict[str, Verdict], row: Mapping[str, str], path: Path, line: int) -> None:
    photo, said = row.get("photo", ""), row.get("verdict", "").strip().lower()
    if not photo.strip():
        raise LabelError("no photo is named", path, line)
    if said and said not in VERDICTS:
        hint = did_you_mean(said, VERDICTS)
        raise LabelError(f"unknown verdict {said[:40]!r}{hint or f'; write {GOOD}, {BAD} or {UNSURE}'}", path, line)
    before = found.get(photo)
    if before is not None and before.verdict != said:
        raise LabelError(
            f"{photo} is {said or 'empty'} here, but {before.verdict or 'empty'} in line {before.line}", path, line
        )
    found[photo] = Verdict(said, row.get("note", "").strip(), line)


@dataclass(frozen=True)
class LeftOut:
    """The masks that --review leaves out: `reasons` by key. `told` is for records, empty without --review."""

    path: Path | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    told: str = ""

    def kept(self, items: Sequence[T]) -> list[T]:
        """The items that are not left out. Raises `UsageError` if that leaves none."""
        found = [item for item in items if item.key not in self.reasons]
        if items and not found:
            raise UsageError(f"{self.path}: leaves out {'all ' if len(items) > 1 else ''}{count(len(items), 'mask')}")
        return found


def left_out(options: ReviewOptions, items: Iterable[Named], reporter: Reporter) -> LeftOut:
    """What --review leaves out of a folder with the masks of `items`.

    A row's photo is found as a name of --list is. Raises `LabelError` for a file that cannot be read or that names
    several photos at once, and `UsageError` if it names none of them, or --review is missing.
    """
    path = options.review
    if path is None:
        for name in ("unsure", "unreviewed"):
            if getattr(options, name) == "drop":
                raise UsageError(f"--{name} drop needs --review FILE")
        return LeftOut()
    rows = read_review(path)
    items = list(items)
    photos, strays = photos_by_key(rows, items, path)
    if rows and not photos:
        raise UsageError(
            f"{path}: names none of {count(len(items), 'mask')}, such as {items[0].key}; is it of another folder?"
        )
    verdicts = {key: rows[photo] for key, photo in photos.items()}
    dropped = {BAD, *([UNSURE] if options.unsure == "drop" else []), *([""] if options.unreviewed == "drop" else [])}
    reasons, counts = {}, Counter[str]()
    for item in items:
        one = verdicts.get(item.key, Verdict())
        if one.verdict in dropped:
            what = one.verdict or "not reviewed"
            counts[what] += 1
            reasons[item.key] = f"{what} in {path.name}{f': {one.note}' if one.note else ''}"
    told = f"{path.name} leaves out {', '.join(f'{n} {what}' for what, n in counts.items()) or 'nothing'}"
    reporter.info(f"{told} of {count(len(items), 'mask')}")
    if strays:
        reporter.warn(f"{path}: {count(len(strays), 'row')} without a mask (first: {strays[0]})")
    return LeftOut(path, reasons, told)


def photos_by_key(rows: Mapping[str, Verdict], items: Iterable[Named], path: Path) -> tuple[dict[str, str], list[str]]:
    """Which row belongs to which mask: photo by key, and the photos without a mask.

    Raises `LabelError` for a photo that several masks may belong to.
    """
    index = NameIndex(items)
    found: dict[str, str] = {}
    strays = []
    for photo, row in rows.items():
        several = index.find(photo)
        if len(several) > 1:
            names = f"{several[0].relative} and {several[1].relative}"
            raise LabelError(f"{photo} is ambiguous: {names}; give its path within the folder", path, row.line)
        if several:
            found[several[0].key] = photo
        else:
            strays.append(photo)
    return found, strays
