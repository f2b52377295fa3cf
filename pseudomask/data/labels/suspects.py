"""Find class names that are probably not classes, with the reason and the option that settles it.

Names in a `--class-file` are never questioned.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pseudomask.quoting import shell_word


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_MISSING = words(
    "na n/a n.a. nan nat none null nil undefined missing empty blank unknown unlabeled unlabelled untagged unspecified "
    "tbd todo - -- --- ? ?? ??? . .. _ * inf -inf <na> #n/a (none) (null) (blank) (empty) (unknown) \\n "
    "#ref! #value! #name? #div/0! #num! #null! unsorted unclassified uncategorized uncategorised unassigned unannotated"
)
_SPLIT = re.compile(
    r"(train|training|trainval|val|valid|validation|test|testing|dev|eval|evaluation|holdout|held[ _-]?out)"
    r"([ _-]?(set|split|data|images?|photos?|\d{4}))?",
    re.IGNORECASE,
)
_SYSTEM = words(
    "__macosx @eadir @recycle @recently-snapshot $recycle.bin recycler #recycle #snapshot ~snapshot lost+found thumbs "
    "thumbs.db .ds_store desktop.ini __pycache__ .ipynb_checkpoints ipynb_checkpoints node_modules .git"
) | {"system volume information", "new folder", "untitled folder"}
_STRUCTURE = words(
    "images imgs masks labels annotations jpegimages imagesets segmentationclass segmentationobject ground_truth "
    "groundtruth gt thumbnails overlays scores bboxes"
)
_WEAK_STRUCTURE = _STRUCTURE | words(
    "image img mask label annotation photos photo pictures pics jpeg jpg png raw data dataset rgb color original "
    "originals input output inputs outputs targets segmentation segmentations seg"
)
_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_QUOTED = re.compile("([\"'\u201c\u2018\u00ab\u201e\u201a])(.+)([\"'\u201d\u2019\u00bb\u201c\u2018])")

_LONGEST = 200  # also keeps the patterns fast

_CLASS_FILE = "a --class-file that lists it if it is a class"
_NO_CLASS = "--no-class {0} if these photos show no class, --skip-tag {0} to skip them, or " + _CLASS_FILE
_COLUMN = "{3}, or " + _CLASS_FILE
_OF_A_TABLE = "--label-column with the column of the tags"
_OF_A_LINE = "nothing but the image and its tags in each line"

_EVERYWHERE: tuple[tuple[str, str, str], ...] = (
    (
        r"[+]?\d+([.,]\d*)?(e[+-]?\d+)?%?",
        "is a number, not a class name",
        "a --class-file with the class names in the order of their numbers (and --count-from 0 if they start at 0), or "
        "one that lists '{1}' itself",
    ),
    (r"true|false|yes|no", "means yes or no and is not a class name", _COLUMN),
    (r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?|\d{1,2}:\d{2}(:\d{2})?", "is a date or time", _COLUMN),
    (
        r"/[mgt]/[0-9a-z_]+",
        "is an Open Images id, not a name",
        "its name instead, or a --class-file that lists the id if it is the class name",
    ),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,}", "is an identifier, not a class name", _COLUMN),
    (
        r"[\[({<].*[\])}>]|[\[{<].*|.*[\]}>]|[\"\u201c].*|.*[\"\u201d]",
        "looks like part of a list",
        "--tag-separator '{2}' (which also removes brackets and quotes), or " + _CLASS_FILE,
    ),
)
_IN_CELLS: tuple[tuple[str, str, str], ...] = (
    (
        r"[a-z][a-z0-9+.-]*://.*|[a-z]:\\.*|\.{0,2}[\\/].*|.*\.(jpe?g|png|gif|bmp|tiff?|webp|txt|xml|json|csv)",
        "is a URL or file name",
        _COLUMN,
    ),
    (
        r".+[\s:=(]\s*[01]?[.,]\d+\s*\)?|.+[\s:=(]\d+([.,]\d+)?\s*%\s*\)?|.+[:=]\s*[01]",
        "contains a score",
        "only names in the cells, or " + _CLASS_FILE,
    ),
    (
        r"(\S+\s+){7,}\S+.*|(\S+\s+){3,}\S+[.!?]|.{121,}",
        "is a sentence, not a class name",
        _COLUMN,
    ),
)


def _compiled(table: tuple[tuple[str, str, str], ...]) -> tuple[tuple[re.Pattern[str], str, str], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), why, settles) for pattern, why, settles in table)


_ALWAYS_JUDGED, _CELLS_JUDGED = _compiled(_EVERYWHERE), _compiled(_IN_CELLS)


def clean(name: str) -> str:
    """A name without invisible characters, extra spaces and enclosing quotes, in composed Unicode (NFC)."""
    if name.isascii() and name.isprintable() and "  " not in name and name[:1] not in "\"'":
        return name.strip()
    name = " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", name)).split())
    quoted = _QUOTED.fullmatch(name)
    return quoted[2].strip() if quoted and quoted[2].strip() else name


def is_cleaned(name: str, tidy: str) -> bool:
    """Whether `clean` did more than compose Unicode."""
    return unicodedata.normalize("NFC", name) != tidy


def fold(name: str) -> str:
    """Equal for names that differ only in case, width, spaces, `_` and `-`, or a copy number (`cat (2)`)."""
    name = unicodedata.normalize("NFKC", name).casefold().replace("\u2019", "'")
    name = re.sub(r"(?<=\S)( - copy| copy)?( ?\(\d+\))?$", "", name)
    return re.sub(r"(?<!\d)[\s_-]+|[\s_-]+(?!\d)", "", name)  # 1-1 is not 11


def shown(name: str) -> str:
    """A name for a message of one line."""
    text = f"'{name}'" if name.isprintable() else repr(name)
    return text if len(text) <= 62 else f"{text[:60]}…'"


def is_missing(name: str) -> bool:
    """Whether the name is a common placeholder for a missing value."""
    return name.casefold() in _MISSING


def missing(names: Sequence[str]) -> str:
    """One message about all such names."""
    listed = " and ".join(map(shown, names[:3])) + (" and others" if len(names) > 3 else "")
    are = "is not a class but looks" if len(names) == 1 else "are not classes but look"
    word = shell_word(",".join(names))
    return (
        f"{listed} {are} like a missing value; give --no-class {word} if these photos show no class, --skip-tag {word} "
        f"to skip them, or {_CLASS_FILE}"
    )


def judge(name: str, *, in_cell: bool, separator: str | None, columns: bool = True) -> str | None:
    """What is wrong with a name, and what settles it; None for a plausible class name.

    `in_cell`: the name comes from a cell or line that may contain several names, or something else; `separator`:
    the one given by the user; `columns`: whether the source is a table.
    """
    if len(name) > _LONGEST:
        return _message(name, "is too long for a class name", _COLUMN, columns)
    if not name.isprintable():
        return _message(name, "contains a control character", "clean text")
    for table in (_ALWAYS_JUDGED, _CELLS_JUDGED if in_cell else ()):
        for pattern, why, settles in table:
            if pattern.fullmatch(name):
                return _message(name, why, settles, columns)
    found = re.search(r"[,|;/]", name) if in_cell and separator is None else None
    return several(name, found[0]) if found else None


def several(name: str, separator: str) -> str:
    """The message about a name that contains several."""
    return f"{shown(name)} looks like several tags; give --tag-separator '{separator}', or {_CLASS_FILE}"


def _message(name: str, why: str, settles: str, columns: bool = True) -> str:
    separator = next((one for one in ",;|" if one in name), " " if " " in name else ",")
    column = _OF_A_TABLE if columns else _OF_A_LINE
    return f"{shown(name)} {why}; give {settles.format(shell_word(name), name, separator, column)}"


def combined(classes: Iterable[str], *, in_cell: bool) -> Iterator[tuple[str, str]]:
    """(name, separator) of names that combine others: `cat & dog`, `cat dog` beside `cat` and `dog`.

    Outside cells, a space, `_` or `-` proves nothing: a baseball glove is neither a baseball nor a glove.
    """
    known = {name.casefold() for name in classes}
    for name in classes:
        for separator in set(re.findall(r"\s*[^\w\s]+\s*|_|\s+(?:and\s+)?", name)):
            mark = separator.strip()
            if not in_cell and mark in ("", "_", "-"):
                continue
            parts = [part.strip().casefold() for part in name.split(separator)]
            sure = any if in_cell and mark in ("&", "+") else all
            if len(parts) > 1 and all(parts) and sure(part in known for part in parts):
                yield name, separator if mark == "and" else mark or separator
    if in_cell:
        yield from ((name, " ") for name in _sets_of_words(known))


def _sets_of_words(names: Iterable[str]) -> list[str]:
    """Names that contain all words of another name, plus words that occur in other names too.

    They are probably several tags separated by spaces, none of which ever occurs alone: `clear primary`,
    `haze primary water`, `clear primary water`. A more specific class adds words in front, as in `red traffic light`.
    """
    sets = {name: parts for name in names if len(parts := name.split()) > 1}
    uses = Counter(word for parts in sets.values() for word in set(parts))
    by_first: dict[str, list[list[str]]] = {}
    for parts in sets.values():
        by_first.setdefault(parts[0], []).append(parts)

    def holds(parts: list[str], fewer: list[str]) -> bool:
        if not set(fewer) < set(parts) or parts[-len(fewer) :] == fewer:
            return False
        return parts[: len(fewer)] != fewer or all(uses[word] > 1 for word in set(parts) - set(fewer))

    return [
        name for name, parts in sets.items() if any(holds(parts, one) for w in parts for one in by_first.get(w, ()))
    ]


def split_names(names: Iterable[str]) -> list[str]:
    """The names of splits or system folders; a single `train` among others is the vehicle."""
    names = list(names)
    splits = [name for name in names if _SPLIT.fullmatch(name)]
    if len(splits) == 1 and splits[0].casefold() == "train" and len(names) > 1:
        splits = []
    return [*splits, *(name for name in names if is_system(name))]


def is_system(name: str) -> bool:
    """Whether operating systems or programs create folders with this name."""
    return name.casefold() in _SYSTEM


def structure_names(folders: Iterable[str]) -> list[str]:
    """Folders of data set parts (`images`, `masks`), not classes; `mask` beside `no mask` is a class."""
    folders = list(folders)
    weak = all(name.casefold() in _WEAK_STRUCTURE for name in folders)
    return [name for name in folders if weak or name.casefold() in _STRUCTURE]
