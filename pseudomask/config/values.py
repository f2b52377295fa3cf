"""Convert what people write (a flag, a variable, a TOML value) to the type of a config field."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pseudomask.errors import UsageError
from pseudomask.suggest import nearest as nearest_name

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


class NotThis(Exception):
    """The value has the wrong type; the message says which type is expected."""


def convert(annotation: Any, value: object, where: str) -> Any:
    """`value` (text or a native TOML value) converted to `annotation`; `where` names its origin in errors.

    Understands bool, int, float, str, Path, Literal, tuples (`a,b,c` or a TOML array) and unions.
    Raises a one-line `UsageError` for anything else.
    """
    try:
        return _convert(annotation, value)
    except NotThis as error:
        choices = [str(one) for one in _choices(annotation)]
        raise UsageError(
            f"{where}: {error}, not {_shown(value)}{nearest(str(value), choices) if choices else ''}"
        ) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing if no known name is close."""
    close = nearest_name(name, known)
    return f" (did you mean '{close}'?)" if close else ""


def metavar(annotation: Any) -> str:
    """The placeholder for a value of this type in the help: N, X, FILE, `a|b`, X,X,…"""
    members = _members(annotation)
    if len(members) > 1:
        return "|".join(metavar(member) for member in members)
    (only,) = members
    origin, args = get_origin(only), get_args(only)
    if origin is Literal:
        return "|".join(str(one) for one in args)
    if origin is tuple:
        return f"{metavar(args[0])},..."
    return {int: "N", float: "X", Path: "FILE", str: "TEXT", bool: "true|false"}.get(only, "VALUE")


def show(value: object) -> str:
    """A default as it would be typed on the command line; empty if there is none to show."""
    if value is None or value == ():
        return ""
    if isinstance(value, tuple | list):
        return ",".join(show(one) for one in value)
    return str(value)


def is_bool(annotation: Any) -> bool:
    """Whether the field is a switch, that is, a bool or an optional bool."""
    return _members(annotation) == [bool]


def _convert(annotation: Any, value: object) -> Any:
    members = _members(annotation)
    optional = _is_union(annotation) and types.NoneType in get_args(annotation)
    if optional and (value is None or (value == "none" and not {str, Path} & set(members))):
        return None
    if len(members) == 1:
        return _single(members[0], value)
    wanted = []
    for member in members:
        try:
            return _single(member, value)
        except NotThis as error:
            wanted.append(str(error).removeprefix("must be "))
    raise NotThis("must be " + " or ".join(wanted))


def _single(kind: Any, value: object) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _literal(args, value)
    if origin is tuple:
        return _tuple(args, value)
    if kind is bool:
        return _bool(value)
    if kind is int:
        return _int(value)
    if kind is float:
        return _float(value)
    if kind in (str, Path):
        if not isinstance(value, str) or (kind is Path and (not value or "\0" in value)):
            raise NotThis("must be a path" if kind is Path else "must be text")
        return kind(value)
    raise TypeError(f"config fields of type {kind!r} cannot be flags")


def _literal(choices: tuple[Any, ...], value: object) -> Any:
    for choice in choices:
        if isinstance(value, bool) == isinstance(choice, bool) and str(value) == str(choice):
            return choice
    raise NotThis("must be one of " + ", ".join(str(choice) for choice in choices))


def _tuple(args: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    parts: list[Any]
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")] if value.strip() else []
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        raise NotThis("must be a list")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], part) for part in parts)
    if len(parts) != len(args):
        raise NotThis(f"must be {len(args)} values separated by commas")
    return tuple(_convert(kind, part) for kind, part in zip(args, parts, strict=True))


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if text not in _TRUE + _FALSE:
        raise NotThis("must be true or false")
    return text in _TRUE


def _int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value) if isinstance(value, str) else int("no")
    except ValueError:
        raise NotThis("must be a whole number") from None


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise NotThis("must be a number")
    try:
        number = float(value)
    except ValueError:
        raise NotThis("must be a number") from None
    if not math.isfinite(number):
        raise NotThis("must be a finite number")
    return number


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _members(annotation: Any) -> list[Any]:
    """The member types of a union, without None and narrowest first; for any other type, the type itself."""
    if not _is_union(annotation):
        return [annotation]
    order = [bool, int, float, Path, str]
    kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
    return sorted(kinds, key=lambda kind: order.index(kind) if kind in order else -1)


def _choices(annotation: Any) -> list[Any]:
    return [one for kind in _members(annotation) if get_origin(kind) is Literal for one in get_args(kind)]


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)
