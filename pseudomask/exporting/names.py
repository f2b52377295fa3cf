"""The names of photos in an export, and names that a format cannot represent."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable

from pseudomask.errors import CollisionError, UsageError
from pseudomask.exporting.source import Piece
from pseudomask.running.jsonable import is_utf8

_LONGEST = 255 - len(".jpeg")  # bytes of a file's name
_UNWRITABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are not UTF-8, line and paragraph ends
_EDGES = re.compile(r"^\s+|\s+$")
_DRIVE = re.compile(r"(?<![^/])([A-Za-z]):")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')


def flat_name(key: str) -> str:
    """A key as one file name: `_` replaces `/`, characters that a list cannot contain, and Windows path syntax."""
    key = _DRIVE.sub(r"\1_", key)
    name = "".join("_" if letter in "/\\" or unicodedata.category(letter) in _UNWRITABLE else letter for letter in key)
    return _EDGES.sub(lambda spaces: "_" * len(spaces[0]), name)


def plan_names(
    pieces: Iterable[Piece], *, flat: bool, fault: Callable[[str], str | None], format: str
) -> dict[str, str]:
    """The name of each piece by its key: the key itself, or with `flat` a name without folders.

    `fault` says why a format cannot represent a name. Raises `CollisionError`, naming both, if two photos would share
    a name, and `UsageError` for a name that cannot be represented.
    """
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for piece in pieces:
        name = flat_name(piece.key) if flat else piece.key
        other = owners.setdefault(name, piece.relative)
        if other != piece.relative:
            raise CollisionError(
                f"{other} and {piece.relative} would both be {name} in {format}, which has no subfolders; rename one, "
                "or leave one out with --list"
            )
        problem = fault(name)
        if len(os.fsencode(name.rpartition("/")[2])) > _LONGEST:
            problem = "the name is too long for a file"
        if problem:
            raise UsageError(f"{piece.relative}: {problem}; rename it, or leave it out with --list")
        names[piece.key] = name
    return names


def no_utf8(name: str) -> str | None:
    """The fault of a name that JSON and zip files cannot represent."""
    return None if is_utf8(name) else "the name is not UTF-8"


def no_line(name: str) -> str | None:
    """The fault of a name that a line of a list cannot represent."""
    if name.splitlines() != [name]:
        return "the name contains a line break, which a list cannot represent"
    if name != name.strip() or name.startswith("#"):
        return "a list cannot represent a name that begins or ends with a space, or begins with #"
    return no_utf8(name)


def no_member(name: str) -> str | None:
    """The fault of a name that is unsafe in an archive: on another system it could be a path out of the folder."""
    if "\\" in name or _DRIVE.search(name) or any(part in ("", ".", "..") for part in name.split("/")):
        return "the name would be a different path when unpacked on Windows"
    return no_line(name)


def on_windows(name: str) -> bool:
    """Whether a relative path is valid on Windows: no device name, no stream, no dot or space at the end of a part."""
    parts = name.split("/")
    return not any(_NOT_ON_WINDOWS.search(part) or _WINDOWS_DEVICE.fullmatch(part) for part in parts)
