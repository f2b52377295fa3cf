"""Names made fit to be shown and linked: they may hold anything that a file system takes."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def clean(text: str) -> str:
    """`text` on one line, without control characters, line separators or halves of characters: their escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\u200d" else _escape(one) for one in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def url(path: str) -> str:
    """A relative POSIX path as a URL; nothing of it can be read as a scheme, a query or markup."""
    return quote(os.fsencode(path))


def folder_url(folder: Path, page: Path) -> str:
    """The URL of `folder`, with its last slash, as seen from the page file."""
    try:
        relative = os.path.relpath(folder, page.parent)
    except ValueError:  # another drive
        return folder.absolute().as_uri() + "/"
    return url(Path(relative).as_posix()) + "/"
