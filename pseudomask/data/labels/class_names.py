"""Map class names to positions; each name is checked once, at its first row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pseudomask.data.labels import renaming, suspects
from pseudomask.data.labels.table import BACKGROUND_NAMES, MAX_CLASSES, ReadOptions, check_classes, nearest
from pseudomask.errors import LabelError
from pseudomask.quoting import count, shell_word
from pseudomask.running.jsonable import is_text

LEFT_OUT = -2
"""First among the positions of a row that `--skip-tag` skips."""

_NO_CLASS = -1
_NEGATIVE = re.compile(r"-\d+([.,]\d+)?")
_NUMBER = re.compile(r"(\d{1,18})(?:\.0+)?")

Place = tuple[int | None, Path]
"""Line (if any) and file of a name."""


def _error(message: str, place: Place) -> LabelError:
    return LabelError(message, place[1], place[0])


class ClassNames:
    """The classes found so far, or the given ones.

    With a given list, a whole number stands for a class: 1 is the first, or 0 with `numbers_from_zero`, unless the
    options say otherwise. `columns`: the source is a table, whose columns can be chosen by options.
    """

    def __init__(
        self, options: ReadOptions, *, in_cells: bool, columns: bool = True, numbers_from_zero: bool = False
    ) -> None:
        self.given = options.classes
        self.notes: list[str] = []
        self._options = options
        self._in_cells, self._columns = in_cells, columns
        self._first = options.count_from if options.count_from is not None else 0 if numbers_from_zero else 1
        self._positions: dict[str, int] = {}
        self._by_fold: dict[str, str | None] = {}
        self._places: dict[str, Place] = {}
        self._missing: dict[str, Place] = {}  # reported together, at the end, as are the next
        self._unknown: dict[str, Place] = {}
        self._left_out: dict[str, None] = {}
        self._unused = set(options.renames)
        self._declared = False
        for name in check_classes(options.classes or ()):
            self._positions[name] = len(self._positions)
            self._by_fold[suspects.fold(name)] = None if suspects.fold(name) in self._by_fold else name

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, name: object) -> bool:
        return name in self._positions

    def declare(self, names: Iterable[str], place: Place) -> None:
        """Set the classes and their order before any row; with a given list, only check them."""
        self._declared = True
        for name in names:
            self.position(name.strip(), place)

    def index(self, name: str) -> int:
        """Position of a class that was found, or given."""
        return self._positions[name]

    def knows(self, name: str) -> bool:
        """Whether a name is one of the given classes, or --map makes it one."""
        return self._renamed(name) is not None or (self.given is not None and name in self._positions)

    def _renamed(self, name: str) -> str | None:
        return self._options.renames.get(suspects.clean(name).casefold()) if self._options.renames else None

    def position(self, name: str, place: Place) -> int:
        """Position of a class; -1 for no class, `LEFT_OUT` for a tag to skip. Raises LabelError for invalid names."""
        target = self._renamed(name)
        if target is None:
            return self._position(name, place)
        self._unused.discard(suspects.clean(name).casefold())
        if self.given is not None:
            renaming.check_targets([target], [target], self.given)
        return self._position(target, place)

    def _position(self, name: str, place: Place) -> int:
        known = self._positions.get(name)
        if known is not None:
            return known
        if name.casefold() in self._options.skip_tag:
            return LEFT_OUT
        if name.casefold() in self._options.no_class:
            return _NO_CLASS
        if not name:
            raise _error("a class name is empty", place)
        self._check_text(name, place)
        tidy = suspects.clean(name)
        if tidy != name and tidy:
            if suspects.is_cleaned(name, tidy):
                self._note("invisible characters, extra spaces and enclosing quotes were removed from names")
            return self._position(tidy, place)
        if name.casefold() in BACKGROUND_NAMES:
            self._note("background is not a class and was ignored; mask index 0 is always background")
            return _NO_CLASS
        if _NEGATIVE.fullmatch(name):
            raise _error(f"class index {name} is negative", place)
        if suspects.is_missing(name):
            self._missing.setdefault(name, place)
            return _NO_CLASS
        twin = self._by_fold.get(suspects.fold(name))
        if twin is not None and self._options.merge_names:
            self._note(f"{suspects.shown(name)} was merged into {suspects.shown(twin)} (--merge-names)")
            return self._positions[twin]
        return self._new(name, twin, place) if self.given is None else self._number(name, twin, place)

    def finish(self) -> tuple[str, ...]:
        """The classes, in order: as given or declared, else sorted. Raises LabelError for conflicting names."""
        if self._missing:
            raise _error(suspects.missing(list(self._missing)), next(iter(self._missing.values())))
        names = tuple(self._positions)
        self._tell_renamed()
        if self.given is not None:
            self._check_unknown()
            return names
        if self._options.separator is None and not self._declared:
            for name, separator in suspects.combined(names, in_cell=self._in_cells):
                raise _error(suspects.several(name, separator), self._places[name])
        for name in suspects.split_names(names):
            raise _error(
                f"'{name}' names {'a system folder' if suspects.is_system(name) else 'a split'}, not a class; give "
                f"--skip-tag {shell_word(name)} to skip it, or a --class-file that lists it if it is a class",
                self._places[name],
            )
        return names if self._declared else tuple(sorted(names))

    def _check_text(self, name: str, place: Place) -> None:
        if not is_text(name):
            raise _error(f"the class name {name!r} contains an unpaired surrogate", place)
        if any("\udc80" <= character <= "\udcff" for character in name):
            guess = name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
            raise _error(
                f"{suspects.shown(guess)} is not UTF-8 (Latin-1 or Windows-1252?); save the file as UTF-8 "
                "(Excel: 'CSV UTF-8')",
                place,
            )

    def _new(self, name: str, twin: str | None, place: Place) -> int:
        in_cell = self._in_cells and not self._declared
        complaint = suspects.judge(name, in_cell=in_cell, separator=self._options.separator, columns=self._columns)
        if complaint:
            raise _error(complaint, place)
        if twin is not None:
            raise _error(
                f"{suspects.shown(name)} and {suspects.shown(twin)} differ only in case, spaces, '_', '-' or a copy "
                "number; give --merge-names if they are one class, or a --class-file that lists both",
                place,
            )
        if len(self._positions) >= MAX_CLASSES:
            raise _error(f"more than {MAX_CLASSES:,} classes", place)
        self._places[name] = place
        folded = suspects.fold(name)
        if folded:
            self._by_fold[folded] = name
        self._positions[name] = len(self._positions)
        return self._positions[name]

    def _number(self, name: str, twin: str | None, place: Place) -> int:
        assert self.given is not None
        match = _NUMBER.fullmatch(name)
        if match is None:
            if self._options.drop_unknown:
                self._left_out[name] = None
            else:
                self._unknown.setdefault(name, place)
            return _NO_CLASS
        position = int(match[1]) - self._first
        if position == -1:
            raise _error(
                "class index 0 is background; the first class is 1; if yours count from 0, give --count-from 0", place
            )
        if position >= len(self.given):
            last = position == len(self.given) and not self._first
            hint = "; if your numbers start at 1, give --count-from 1" if last else ""
            raise _error(f"class index {name}, but there are only {count(len(self.given), 'class')}{hint}", place)
        first = suspects.shown(self.given[0])
        self._note(f"tags that are numbers are positions in the class list, from {self._first}, {first} (--count-from)")
        return position

    def _check_unknown(self) -> None:
        if not self._unknown:
            return
        assert self.given is not None
        names = list(self._unknown)
        line, where = self._unknown[names[0]]
        merges = any(suspects.fold(name) in self._by_fold for name in names)
        merge = " (or --merge-names, which ignores case, spaces, '_' and '-')" if merges else ""
        more = f" (and {len(names) - 1:,} more)" if len(names) > 1 else ""
        raise LabelError(
            f"unknown class {suspects.shown(names[0])}{more}{nearest(names[0], self.given)}; "
            f"{renaming.advice(names, self.given)}{merge}",
            where,
            line,
        )

    def _tell_renamed(self) -> None:
        if self._unused:
            self._note(f"--map has names that no label has: {renaming.names_of(sorted(self._unused))}")
        if self._left_out:
            self._note(renaming.dropped(list(self._left_out)))

    def _note(self, note: str) -> None:
        if note not in self.notes and len(self.notes) < 20:
            self.notes.append(note)
