"""File names as URLs: they may contain anything that a file system accepts."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def url(path: str) -> str:
    """A relative POSIX path as a URL; no part of it can be taken for a scheme, a query or markup."""
    return quote(os.fsencode(path))


def folder_url(folder: Path, page: Path) -> str:
    """The URL of `folder` relative to the page file, with a slash at the end."""
    try:
        relative = os.path.relpath(folder, page.parent)
    except ValueError:  # another drive
        return folder.absolute().as_uri() + "/"
    return url(Path(relative).as_posix()) + "/"
