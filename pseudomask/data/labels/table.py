"""The table that every label format is read into, the options of readers, and the text of label files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pseudomask.config.common import TagOptions
from pseudomask.data.labels.json_rows import refuse_constant
from pseudomask.errors import LabelError
from pseudomask.files import read_bytes
from pseudomask.quoting import listed
from pseudomask.suggest import nearest as nearest_name

MAX_CLASSES = 65_534
"""Mask indices have at most 16 bits; 0 is background and one is ignore."""

BACKGROUND_NAMES = frozenset({"background", "__background__", "_background_", "bg"})


@dataclass(frozen=True)
class LabelTable:
    """Tags of images from one label source.

    Attributes:
        classes: the foreground names, in order.
        tags: sorted positions in `classes` (empty: none of them), by image name as written in the source.
        notes: what was mapped or left out, as sentences.
    """

    classes: tuple[str, ...]
    tags: dict[str, tuple[int, ...]]
    format: str
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """`TagOptions` as readers need them; names in `no_class` and `skip_tag` are in lower case."""

    classes: tuple[str, ...] | None = None
    difficult: Literal["keep", "drop"] = "keep"
    crowd: Literal["ignore", "keep"] = "ignore"
    split: str | None = None
    separator: str | None = None
    no_class: frozenset[str] = frozenset()
    skip_tag: frozenset[str] = frozenset()
    merge_names: bool = False
    renames: Mapping[str, str] = field(default_factory=dict)
    drop_unknown: bool = False
    count_from: int | None = None
    image_column: str | None = None
    label_column: tuple[str, ...] = ()
    images: Path | None = None

    @classmethod
    def of(cls, tags: TagOptions, classes: Sequence[str] | None, images: Path | None) -> ReadOptions:
        """Raises LabelError for invalid `classes`."""
        return cls(
            classes=None if classes is None else check_classes(classes),
            difficult=tags.difficult,
            crowd=tags.crowd,
            split=tags.label_split,
            separator=tags.tag_separator or None,
            no_class=frozenset(name.casefold() for name in _split(tags.no_class)),
            skip_tag=frozenset(name.casefold() for name in _split(tags.skip_tag)),
            merge_names=tags.merge_names,
            drop_unknown=tags.unknown_tags == "drop",
            count_from=tags.count_from,
            image_column=tags.image_column,
            label_column=_split(tags.label_column),
            images=images,
        )


def _split(words: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (words or "").split(",") if word.strip())


def check_classes(names: Iterable[str], path: Path | str | None = None) -> tuple[str, ...]:
    """Foreground class names. Raises LabelError for empty, duplicate or background names, or too many."""
    classes = tuple(names)
    seen: set[str] = set()
    for name in classes:
        if not name.strip():
            raise LabelError("a class name is empty", path)
        if name in BACKGROUND_NAMES:
            raise LabelError(f"'{name}' is not a class; mask index 0 is always background", path)
        if name in seen:
            raise LabelError(f"duplicate class '{name}'", path)
        seen.add(name)
    if len(classes) > MAX_CLASSES:
        raise LabelError(f"{len(classes):,} classes, but a mask can hold at most {MAX_CLASSES:,}", path)
    return classes


def nearest(name: str, valid: Sequence[str]) -> str:
    """`: did you mean 'cat'?`, or the first valid names if none is close."""
    for separator in ",|/ ":
        parts = [part.strip() in valid for part in name.split(separator)]
        if len(parts) > 1 and (all(parts) if separator == " " else parts[0]):
            return f"; separate class names with ';', or give --tag-separator '{separator}'"
    close = nearest_name(name, valid)
    if close:
        return f": did you mean '{close}'?"
    return f"; the classes are {listed(valid, 5)}"


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises LabelError, with the line if known; NaN and infinity are refused."""
    return parse_json(read_text(path), path)


def parse_json(text: str, path: Path) -> Any:
    """The content of the JSON file's text. Raises as `read_json`."""
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except json.JSONDecodeError as error:
        raise LabelError(f"not JSON ({error.msg})", path, error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise LabelError(f"invalid JSON ({error})", path) from error


def read_text(path: Path) -> str:
    """The text of a label file: UTF-8 with or without BOM; other bytes survive as surrogates."""
    try:
        data = read_bytes(path, pipe=True)
    except OSError as error:
        raise LabelError(f"cannot be read ({error.strerror})", path) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LabelError("is UTF-16 (Excel's 'Unicode text'); save it as UTF-8 (Excel: 'CSV UTF-8')", path)
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
