"""Turn paths, tuples, data classes and numpy scalars into plain JSON values."""

from __future__ import annotations

import dataclasses
import enum
import math
import os
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any


def jsonable(value: object) -> Any:
    """`value` as dicts, lists, strings, numbers, booleans and None.

    NaN and infinity become None, paths become strings, and sets become sorted lists.
    Raises `TypeError` for values that JSON cannot represent (a tensor, an open file).
    """
    if value is None or isinstance(value, bool | str):
        return str(value.value) if isinstance(value, enum.Enum) else value
    if isinstance(value, enum.Enum):
        return jsonable(value.value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(jsonable(item) for item in value)
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return _array(value)


def json_object(value: Mapping[str, Any] | object) -> dict[str, Any]:
    """`jsonable` of a mapping or data class."""
    plain: dict[str, Any] = jsonable(value)
    return plain


def _array(value: object) -> Any:
    # Duck-typed, so that this module imports neither numpy nor torch.
    tolist = getattr(value, "tolist", None)
    if tolist is None or not type(value).__module__.startswith("numpy"):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return jsonable(tolist())


def is_text(value: object) -> bool:
    """Whether a value from JSON is a string that can be written; JSON escapes may hold unpaired surrogates.

    The surrogate escapes of file names that are not valid UTF-8 are accepted.
    """
    return isinstance(value, str) and is_utf8(value, "surrogateescape")


def is_utf8(text: str, errors: str = "strict") -> bool:
    """Whether `text` can be encoded as UTF-8."""
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True
